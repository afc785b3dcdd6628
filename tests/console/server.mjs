// Starts a demonstration server for one run of the browser tests, and gives its people passwords.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";

const root = fileURLToPath(new URL("../..", import.meta.url));
const guildhall = process.env.GUILDHALL_BIN ?? join(root, "target/debug/guildhall");
export const PASSWORD = "correct horse battery";

// Loads an organization from a file of fixtures, serves it, and resolves with its address.
export async function serve({ fixtures = "acme.json", port = 0 } = {}) {
  const data = mkdtempSync(join(tmpdir(), "guildhall-console-"));
  const run = (...args) => execFileSync(guildhall, [...args, "--data", data], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  if (fixtures) run("fixtures", "load", join(root, "fixtures", fixtures));
  const child = spawn(guildhall, ["serve", "--data", data, "--listen", `127.0.0.1:${port}`], { stdio: ["ignore", "pipe", "pipe"] });
  const lines = [];
  const url = await new Promise((resolve, reject) => {
    const look = (line) => {
      lines.push(line);
      const found = line.match(/http:\/\/127\.0\.0\.1:\d+/);
      if (found) resolve(found[0]);
    };
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", look);
    child.on("exit", (code) => reject(new Error(`the server ended with ${code}:\n${lines.join("\n")}`)));
    setTimeout(() => reject(new Error(`the server does not start:\n${lines.join("\n")}`)), 60_000).unref();
  });
  return {
    url,
    lines,
    // A link with which a person sets a password.
    resetLink: (email) => run("user", "password", "reset", "--email", email, "-o", "text").match(/\/reset\/\w+/)[0],
    stop: () => new Promise((resolve) => {
      child.removeAllListeners("exit");
      child.on("exit", () => { rmSync(data, { recursive: true, force: true }); resolve(); });
      child.kill("SIGTERM");
    }),
  };
}

// Sets the password of a person by the link of the host, and signs in with it.
export async function signIn(page, server, email) {
  await page.goto(server.url + server.resetLink(email));
  await page.getByRole("textbox", { name: "New password" }).fill(PASSWORD);
  await page.getByRole("button", { name: "Set password" }).click();
  await page.getByRole("textbox", { name: "E-mail" }).fill(email);
  await page.getByRole("textbox", { name: "Password", exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
}
