// A newcomer in Chromium, through an application written against go-oidc: register → sign in →
// authenticator app → consent → signed in → sign out.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import * as environment from '../lib/environment.mjs'
import { createApplication, createTenant } from '../lib/management.mjs'
import { totp } from '../lib/totp.mjs'

let browser, application, origin, issuer

before(async () => {
  const tenant = await createTenant({ registration: true, verify_email: false, mfa: 'required' })
  issuer = tenant.issuer
  origin = `http://127.0.0.1:${await freePort()}`
  const created = await createApplication(tenant.slug, {
    name: 'Sample application', type: 'web', redirect_uris: [origin + '/callback'], post_logout_redirect_uris: [origin + '/signedout'],
    backchannel_logout_uri: origin + '/backchannel-logout',
  })
  application = spawn(environment.webapp(), ['-issuer', tenant.issuer, '-client-id', created.client_id, '-listen', new URL(origin).host], {
    env: { ...process.env, WEBAPP_CLIENT_SECRET: created.client_secret },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  for (let tries = 0; !(await fetch(origin).catch(() => false)); tries++) {
    assert.ok(tries < 200 && application.exitCode === null, 'examples/webapp did not start')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  browser = await chromium.launch({ executablePath: environment.chromium(), args: ['--no-sandbox', '--disable-dev-shm-usage'] })
})

after(async () => {
  await browser?.close()
  application?.kill()
})

test('register, sign in, authenticator app, consent, signed in, sign out', async (t) => {
  const page = await (await browser.newContext()).newPage()
  page.setDefaultTimeout(20_000)
  t.after(async () => {
    if (!t.passed) console.error(`left at ${page.url()}:\n${(await page.locator('body').innerText().catch(() => '')).slice(0, 1500)}`)
  })
  // The button of the form that has this field: a page may also offer "Not you?".
  const submit = (field) => page.locator(`main form:has(input[name="${field}"]:visible) button[type=submit]`).click()
  const email = 'grace@example.com'
  const password = 'one small step for a test 42'

  await page.goto(origin)
  await page.click('#signin')
  await page.locator('main a[href*="register"]').click()
  for (const [name, value] of Object.entries({ email, username: email, given_name: 'Grace', family_name: 'Hopper', password })) {
    const field = page.locator(`input[name="${name}"]:visible`)
    if (await field.count()) await field.first().fill(value)
  }
  await submit('email')

  // Registration may end at the sign-in page or go straight on; what is known is not asked again.
  const secret = page.locator('#totp-secret')
  const passwordField = page.locator('input[name="password"]:visible')
  await secret.or(passwordField).first().waitFor()
  if (await passwordField.count()) {
    const username = page.locator('input[name="username"]:visible')
    if (await username.count()) await username.fill(email)
    await passwordField.fill(password)
    await submit('password')
  }

  const shown = await secret.innerText()
  await page.fill('input[name="code"]', totp(shown))
  await submit('code')
  const codes = page.locator('#recovery-codes')
  const allow = page.locator('#allow')
  await codes.or(allow).first().waitFor()
  if (await codes.count()) {
    assert.ok((await codes.innerText()).trim().split(/\s+/).length >= 8, 'too few recovery codes')
    await page.click('#continue')
  }
  await allow.click()

  await page.waitForURL(origin + '/**')
  assert.equal(await page.locator('#name').innerText(), 'Grace Hopper')
  assert.equal(await page.locator('#email').innerText(), email)

  await page.click('#refresh')
  await page.locator('#refreshed').waitFor()
  assert.equal(await page.locator('#renewed').innerText(), '1')

  for (const width of [320, 390]) {
    await page.setViewportSize({ width, height: 700 })
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    assert.equal(over, 0, `the page is ${over} pixels wider than a window of ${width}`)
  }
  await page.setViewportSize({ width: 1280, height: 800 })

  // Signed out at the provider: it tells the application, which ends its own session.
  await page.goto(issuer + '/account')
  await page.click('#signout')
  for (let tries = 0; ; tries++) {
    await page.goto(origin)
    if (await page.locator('#welcome').count()) break
    assert.ok(tries < 100, 'the application still has its session')
    await page.waitForTimeout(100)
  }
  await page.click('#signin')
  await page.locator('input[name="username"]:visible').fill(email)
  await page.locator('input[name="password"]:visible').fill(password)
  await submit('password')
  await page.fill('input[name="code"]', totp(shown, Date.now() + 30_000))
  await submit('code')
  await page.locator('#name').waitFor()

  await page.click('#signout')
  await page.locator('#everywhere').waitFor()
  await page.goto(origin)
  await page.locator('#welcome').waitFor()

  // Signed out at the provider too: signing in asks for the password again.
  await page.click('#signin')
  await page.locator('input[name="username"]:visible, input[name="password"]:visible').first().waitFor()
})

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
    probe.on('error', reject)
  })
}
