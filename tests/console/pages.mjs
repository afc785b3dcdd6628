// The pages that the tests open, with what they are called in the names of pictures.
export async function pagesFor(page, server, { admin }) {
  const href = async (path, selector) => {
    await page.goto(server.url + path);
    return page.locator(selector).first().getAttribute("href");
  };
  await page.goto(server.url + "/");
  const team = new URL(page.url()).pathname;
  const research = await page.locator("a[data-team=Research]").getAttribute("href", { timeout: 2000 }).catch(() => team);
  const model = await href(`${research}/models`, "tbody th a");
  const deployment = await href(model, "tbody th a").catch(() => null);
  const chain = await href(`${research}/chains`, "tbody th a").catch(() => null);
  const project = await href(`${research}/training`, "tbody th a").catch(() => null);
  const job = project && (await href(project, "tbody th a").catch(() => null));
  const pages = {
    overview: research,
    models: `${research}/models`,
    deploy: `${research}/models/new`,
    model,
    "model-call": `${model}?dialog=call`,
    "model-promote": `${model}?dialog=promote&about=production`,
    deployment,
    chains: `${research}/chains`,
    chain,
    training: `${research}/training`,
    "training-project": project,
    "training-job": job,
    secrets: `${research}/settings/secrets`,
    "secret-set": `${research}/settings/secrets?dialog=set`,
    "api-keys": `${research}/settings/api-keys`,
    "api-key-create": `${research}/settings/api-keys?dialog=create`,
    environments: `${research}/settings/environments`,
    "team-members": `${research}/settings/members`,
    members: "/settings/members",
    teams: "/settings/teams",
    permissions: "/settings/permissions?act=DEPLOY",
    account: "/account",
    sessions: "/account/sessions",
    password: "/account/password",
    "account-api-keys": "/account/api-keys",
    "not-found": "/t/nowhere",
  };
  if (admin) {
    Object.assign(pages, {
      "team-general": `${research}/settings`,
      "team-delete": `${research}/settings?dialog=delete`,
      "environment-create": `${research}/settings/environments?dialog=create`,
      invite: "/settings/members?dialog=invite",
      "team-create": "/settings/teams?dialog=create",
      billing: "/settings/billing",
      activity: "/settings/activity",
      general: "/settings/general",
    });
  } else {
    pages.forbidden = "/settings/billing";
  }
  return Object.fromEntries(Object.entries(pages).filter(([, path]) => path));
}
