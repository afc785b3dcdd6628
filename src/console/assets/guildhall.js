// Guildhall console: what the pages gain when scripts run. Every page works without it.
// One duty a function, in the order of the calls below.

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const root = document.documentElement;

// Says something to screen readers through the page's one live region. A modal dialog silences
// what lies outside it, so the region moves into the open one.
function say(words) {
  const live = document.getElementById("live");
  (document.querySelector("dialog:modal") ?? document.body).append(live);
  live.textContent = "";
  requestAnimationFrame(() => { live.textContent = words; });
}

// Takes words out of the address that must not act again when the page is loaded or shared.
function forget(...names) {
  const address = new URL(location.href);
  for (const name of names) address.searchParams.delete(name);
  history.replaceState(null, "", address.pathname + address.search + address.hash);
}

// The server sends a page with its dialog open. Here it becomes modal; closing it stays on the page,
// and the focus returns to the link that asked for the dialog.
function dialogs() {
  for (const dialog of all("dialog[open]:not(:modal)")) {
    const asked = location.pathname + location.search;
    dialog.close();
    dialog.showModal();
    dialog.addEventListener("close", () => {
      forget("dialog", "about");
      const opener = all("a[href*='dialog=']").find((link) => link.pathname + link.search === asked);
      (opener?.checkVisibility() ? opener : document.getElementById("main"))?.focus();
    });
    for (const link of all("a[data-close]", dialog)) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        dialog.close();
      });
    }
  }
}

// What a form did is said once: loading the page again does not say it again.
function saidOnce() {
  const done = document.querySelector("[data-done]");
  if (!done) return;
  forget("done");
  say(done.textContent.trim());
}

// The team selector: type to narrow it, arrows to walk it. Esc and clicks outside are the popover's own.
function teamSelector() {
  const menu = document.getElementById("teams");
  if (!menu) return;
  const find = menu.querySelector("input");
  const teams = all("a[data-team]", menu);
  const shown = () => all("a", menu).filter((link) => !link.hidden);

  const narrow = () => {
    const wanted = find.value.trim().toLocaleLowerCase();
    for (const team of teams) team.hidden = !team.dataset.team.toLocaleLowerCase().includes(wanted);
    const left = teams.filter((team) => !team.hidden).length;
    say(`${left} of ${teams.length} teams`);
  };
  find.hidden = false;
  find.addEventListener("input", narrow);

  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "open") return;
    find.value = "";
    for (const team of teams) team.hidden = false;
    find.focus();
  });
  menu.addEventListener("keydown", (event) => {
    const links = shown();
    const at = links.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 };
    const inField = document.activeElement === find;
    if (event.key in steps && !(inField && (event.key === "Home" || event.key === "End"))) {
      event.preventDefault();
      const to = steps[event.key];
      (to < 0 ? find : links[Math.min(to, links.length - 1)])?.focus();
    } else if (event.key === "Enter" && inField) {
      event.preventDefault();
      teams.find((team) => !team.hidden)?.click();
    } else if (!inField && event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey) {
      find.focus();   // the letter goes into the field
    }
  });
}

// Copy buttons are in the markup but hidden, since they do nothing without script.
function copyButtons() {
  for (const button of all("button[data-copy]")) {
    button.hidden = false;
    const face = [...button.childNodes];
    let back;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent.trim());
        button.textContent = "Copied";
        say("Copied");
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Press Ctrl+C";
        say("Selected. Press Control C to copy.");
      }
      clearTimeout(back);
      back = setTimeout(() => { button.replaceChildren(...face); }, 2000);
    });
  }
}

// Deleting asks for the name. The server checks it; here the button waits for it.
function typedNames() {
  for (const field of all("input[data-confirm]")) {
    const button = field.form.querySelector("button[type=submit]");
    const check = () => { button.disabled = field.value !== field.dataset.confirm; };
    field.addEventListener("input", check);
    check();
  }
}

// The server writes "2 hours ago"; this keeps it true. `data-now` is the server's clock,
// so a wrong clock on this side changes nothing.
function relativeTimes() {
  const served = Date.parse(root.dataset.now);
  const started = performance.now();
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
  const phrase = (seconds) => {
    const fit = units.find(([, size]) => Math.abs(seconds) >= size);
    return fit ? words.format(Math.trunc(seconds / fit[1]), fit[0]) : "just now";
  };
  const refresh = () => {
    const now = served + performance.now() - started;
    for (const time of all("time[data-relative]")) {
      time.textContent = phrase((Date.parse(time.dateTime) - now) / 1000);
    }
  };
  if (Number.isNaN(served)) return;
  refresh();
  setInterval(refresh, 30_000);
}

// Logs follow: while the box "Follow" is ticked, new lines are fetched and added at the end.
function logs() {
  const list = document.querySelector("ol.logs[data-follow]");
  const box = document.getElementById("follow");
  if (!list || !box) return;
  box.closest("[hidden]").hidden = false;
  list.scrollTop = list.scrollHeight;
  const look = async () => {
    if (!box.checked || document.hidden) return;
    const page = await fetch(location.href).then((reply) => (reply.ok ? reply.text() : "")).catch(() => "");
    const fresh = new DOMParser().parseFromString(page, "text/html").querySelector("ol.logs[data-follow]");
    if (!fresh || fresh.textContent === list.textContent) return;
    list.replaceChildren(...fresh.childNodes);
    list.scrollTop = list.scrollHeight;
  };
  setInterval(look, 3000);
}

dialogs();
saidOnce();
teamSelector();
copyButtons();
typedNames();
relativeTimes();
logs();
