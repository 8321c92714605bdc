// oidc-client-ts in Chromium learns by the session's frame that the person signed out at another
// application (OpenID Connect Session Management 1.0).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTown, pages, register, serve } from '../lib/application.mjs'
import { openPages, signIn } from '../lib/browser.mjs'

const library = new URL('../node_modules/oidc-client-ts/dist/browser/', import.meta.url)
const { tenant, person } = await createTown()

/** A single-page application of its own origin, which watches the session. */
async function application(name) {
  const created = await register(tenant, '/callback', { name, type: 'spa' })
  const settings = { authority: tenant.issuer, client_id: created.client_id, scope: 'openid profile email', monitorSession: true, checkSessionIntervalInSeconds: 1 }
  const html = `<!doctype html><title>${name}</title><script src="/oidc-client-ts.min.js"></script><script>
    const settings = { ...${JSON.stringify(settings)}, redirect_uri: location.origin + '/callback', silent_redirect_uri: location.origin + '/callback', post_logout_redirect_uri: location.origin + '/' }
    const manager = new oidc.UserManager({ ...settings, userStore: new oidc.WebStorageStateStore({ store: localStorage }) })
    window.heard = []
    for (const event of ['UserSignedOut', 'UserSignedIn', 'UserSessionChanged']) manager.events['add' + event](() => heard.push(event))
    if (location.pathname === '/callback') window.ended = (window.parent === window ? manager.signinCallback() : manager.signinSilentCallback()).then((user) => user?.session_state ?? 'none', String)
  </script>`
  return serve(pages({ '/': html, '/callback': html, '/favicon.ico': '' }, library))
}

test('an application is told of a sign-out at another', async () => {
  const [portal, shop] = [await application('Portal'), await application('Shop')]
  const [page, other] = await openPages(2)
  const enter = async (tab, origin) => {
    await tab.goto(origin)
    await tab.evaluate(() => void manager.signinRedirect())
    await tab.waitForURL((url) => url.pathname.includes('/signin') || url.origin === origin && url.search.includes('code='))
  }
  await enter(page, portal)
  await signIn(page, person)
  await page.click('#allow')
  await page.waitForURL(portal + '/callback?**')
  assert.match(await page.evaluate(() => window.ended), /^[\w.-]+$/)
  await page.goto(portal + '/') // a page without a code in its address
  await page.evaluate(() => manager.getUser().then((user) => manager.events.load(user)))

  await enter(other, shop)
  if (other.url().includes('/signin')) await other.click('#allow')
  await other.waitForURL(shop + '/callback?**')
  await other.evaluate(() => window.ended)
  await other.evaluate(() => void manager.signoutRedirect())
  await other.waitForURL(shop + '/')
  await page.waitForFunction(() => heard.includes('UserSignedOut'))
})
