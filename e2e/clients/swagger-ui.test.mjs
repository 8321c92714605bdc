// Swagger UI in Chromium: its Authorize button, and a call with the token that it got.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTown, pages, register, serve } from '../lib/application.mjs'
import { openPage, signIn } from '../lib/browser.mjs'
import { server } from '../lib/environment.mjs'

test('Swagger UI gets a token with PKCE and calls an API', async () => {
  const { tenant, person } = await createTown()
  const created = await register(tenant, '/oauth2-redirect.html', { type: 'spa' })
  const spec = {
    openapi: '3.0.3',
    info: { title: 'People', version: '1' },
    servers: [{ url: server }],
    paths: { [new URL(tenant.issuer).pathname + '/oauth2/userinfo']: { get: { operationId: 'me', security: [{ people: ['openid', 'email'] }], responses: { 200: { description: 'ok' } } } } },
    components: { securitySchemes: { people: { type: 'oauth2', flows: { authorizationCode: {
      authorizationUrl: tenant.issuer + '/oauth2/authorize', tokenUrl: tenant.issuer + '/oauth2/token', scopes: { openid: 'who you are', email: 'your address' },
    } } } } },
  }
  const html = `<!doctype html><link rel="stylesheet" href="/swagger-ui.css"><div id="swagger-ui"></div><script src="/swagger-ui-bundle.js"></script><script>
    const ui = SwaggerUIBundle({ spec: ${JSON.stringify(spec)}, dom_id: '#swagger-ui', oauth2RedirectUrl: location.origin + '/oauth2-redirect.html' })
    ui.initOAuth({ clientId: ${JSON.stringify(created.client_id)}, scopes: 'openid email', usePkceWithAuthorizationCodeGrant: true })
  </script>`
  const origin = await serve(pages({ '/': html, '/favicon.ico': '' }, new URL('../node_modules/swagger-ui-dist/', import.meta.url)))
  const page = await openPage()
  await page.goto(origin)

  await page.click('.auth-wrapper .authorize')
  const opened = page.waitForEvent('popup')
  await page.click('.modal-ux button.authorize')
  const popup = await opened
  await signIn(popup, person)
  await popup.click('#allow')
  await page.locator('.modal-ux button', { hasText: 'Logout' }).waitFor()
  await page.click('.modal-ux .btn-done')

  await page.click('.opblock-summary-control')
  await page.click('.try-out__btn')
  const answer = page.waitForResponse((response) => response.url().endsWith('/oauth2/userinfo') && response.request().method() === 'GET')
  await page.click('.execute')
  assert.equal((await (await answer).json()).email, person.email)
})
