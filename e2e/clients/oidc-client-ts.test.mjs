// oidc-client-ts in Chromium, in a single-page application of another origin: as its documentation
// says, with an application that has defaults.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTown, pages, register, serve } from '../lib/application.mjs'
import { openPage, signIn } from '../lib/browser.mjs'

const library = new URL('../node_modules/oidc-client-ts/dist/browser/', import.meta.url)
const { tenant, person } = await createTown()
const created = await register(tenant, '/callback', { type: 'spa' })
const settings = { authority: tenant.issuer, client_id: created.client_id, scope: 'openid profile email' }
const html = `<!doctype html><title>SPA</title><script src="/oidc-client-ts.min.js"></script><script>
  const settings = { ...${JSON.stringify(settings)}, redirect_uri: location.origin + '/callback', post_logout_redirect_uri: location.origin + '/' }
  const manager = new oidc.UserManager({ ...settings, userStore: new oidc.WebStorageStateStore({ store: localStorage }) })
  if (location.pathname === '/callback') window.ended = manager.signinCallback().then((user) => user?.profile, String)
</script>`
const origin = await serve(pages({ '/': html, '/callback': html, '/favicon.ico': '' }, library))
const page = await openPage()

test('sign-in by redirect, user information, refresh, silent renewal, sign-out', async () => {
  await page.goto(origin)
  await page.evaluate(() => void manager.signinRedirect())
  await page.waitForURL(/signin/)
  await signIn(page, person)
  await page.click('#allow')
  await page.waitForURL(origin + '/callback?**')
  const profile = await page.evaluate(() => window.ended)
  assert.equal(profile.sub, person.id)
  assert.equal(profile.name, 'Ada Lovelace')

  const info = await page.evaluate(async () => {
    const user = await manager.getUser()
    const endpoint = await manager.metadataService.getUserInfoEndpoint()
    return (await fetch(endpoint, { headers: { authorization: `Bearer ${user.access_token}` } })).json()
  })
  assert.equal(info.email, person.email)

  // With a refresh token renewal is a call of the token endpoint; without one it is a hidden frame.
  const refreshed = await page.evaluate(async () => {
    const before = await manager.getUser()
    const user = await manager.signinSilent()
    return { sub: user.profile.sub, other: user.access_token !== before.access_token }
  })
  assert.deepEqual(refreshed, { sub: person.id, other: true })
  const silent = await page.evaluate(async () => {
    const user = await manager.getUser()
    delete user.refresh_token
    await manager.storeUser(user)
    return (await manager.signinSilent()).profile.sub
  })
  assert.equal(silent, person.id)

  await page.evaluate(() => manager.revokeTokens())
  await page.evaluate(() => void manager.signoutRedirect())
  await page.waitForURL(origin + '/')
  assert.equal(await page.evaluate(() => manager.signinSilent().then(() => 'still signed in', (error) => error.error)), 'login_required')
})

test('sign-in in a popup', async () => {
  await page.goto(origin)
  const opened = page.waitForEvent('popup')
  await page.evaluate(() => { window.signedIn = manager.signinPopup().then((user) => user.profile.sub, String) })
  await signIn(await opened, person)
  assert.equal(await page.evaluate(() => window.signedIn), person.id)
})
