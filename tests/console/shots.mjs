// Takes a picture of every page: light, dark, and 320 pixels wide. They are for the eye; nothing compares them.
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { pagesFor } from "./pages.mjs";
import { serve, signIn } from "./server.mjs";

const folder = fileURLToPath(new URL("../../target/console-shots", import.meta.url));
mkdirSync(folder, { recursive: true });
const wanted = process.argv.slice(2);
const server = await serve();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  for (const [who, email] of [["admin", "ada@acme.example"], ["member", "leila@acme.example"]]) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 840 } });
    const page = await context.newPage();
    if (who === "admin") {
      await page.goto(server.url + "/sign-in");
      await page.screenshot({ path: `${folder}/sign-in-light.png` });
    }
    await signIn(page, server, email);
    const pages = await pagesFor(page, server, { admin: who === "admin" });
    for (const [name, path] of Object.entries(pages)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      for (const [look, size] of [["light", 1280], ["dark", 1280], ["light", 320]]) {
        if (who === "member" && look === "dark") continue;
        await page.emulateMedia({ colorScheme: look });
        await page.setViewportSize({ width: size, height: size === 320 ? 720 : 840 });
        const reply = await page.goto(server.url + path);
        if (reply.status() >= 500) console.error(`${path}: ${reply.status()}`);
        await page.screenshot({ path: `${folder}/${who}-${name}-${size === 320 ? "narrow" : look}.png` });
      }
    }
    await context.close();
  }
} finally {
  await browser.close();
  await server.stop();
}
