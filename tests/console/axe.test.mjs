// No violation of WCAG 2.0 to 2.2, A and AA, on any page or open dialog, in light and dark, wide and narrow. No page makes
// the console of the browser say anything, is wider than the window, or has more than 60 kB.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";
import { pagesFor } from "./pages.mjs";
import { serve, signIn } from "./server.mjs";

const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
let server, browser;
before(async () => {
  server = await serve();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
});
after(async () => {
  await browser.close();
  await server.stop();
});

for (const [who, email] of [["admin", "ada@acme.example"], ["member", "leila@acme.example"]]) {
  test(`pages of the ${who}`, { timeout: 900_000 }, async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const said = [];
    await signIn(page, server, email);
    const pages = await pagesFor(page, server, { admin: who === "admin" });
    const wanted = process.env.PAGES?.split(",");
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(String(error)));
    const found = [];
    for (const [name, path] of Object.entries(pages)) {
      if (wanted && !wanted.includes(name)) continue;
      for (const colorScheme of ["light", "dark"]) {
        for (const width of [1280, 320]) {
          await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
          await page.setViewportSize({ width, height: 800 });
          said.length = 0;
          const reply = await page.goto(server.url + path);
          const bytes = (await reply.body()).length;
          const refused = reply.status() >= 400;
          const { violations } = await new AxeBuilder({ page }).withTags(TAGS).analyze();
          const where = `${name} ${colorScheme} ${width}`;
          for (const violation of violations) {
            found.push(`${where}: ${violation.id} ${violation.nodes.map((node) => node.html).join(" | ").slice(0, 300)}`);
          }
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          if (wide > 0) found.push(`${where}: ${wide} px wider than the window`);
          if (bytes > 60_000) found.push(`${where}: ${bytes} bytes`);
          const odd = said.filter((text) => !(refused && text.includes("Failed to load resource")));
          if (odd.length > 0) found.push(`${where}: ${odd.join("; ")}`);
        }
      }
    }
    assert.deepEqual(found, []);
  });
}
