// Administrators in Chromium, in the console that the server's binary embeds. axe listens on each
// page in both themes, and no page may report an error.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { openPage, signIn } from '../lib/browser.mjs'
import { call, createTenant, createUser } from '../lib/management.mjs'
import { server } from '../lib/environment.mjs'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** A page at an address of the console, signed in. errors is what the browser said on the way. */
async function open(address, person) {
  const page = await openPage()
  const errors = []
  page.on('pageerror', (error) => errors.push(`${page.url()}: ${error.message}`))
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(`${page.url()}: ${message.text()}`)
  })
  await page.goto(address)
  await page.locator('input[name="username"]').waitFor()
  assert.equal(errors.length, 1, `before the sign-in: ${errors.join('\n')}`)
  assert.match(errors.pop(), /status of 401/)
  await signIn(page, person)
  await page.locator('h1').waitFor()
  return { page, errors }
}

/** What axe finds wrong with the page in both themes, once its heading is there. */
async function listen(page, heading) {
  await page.getByRole('heading', { level: 1, name: heading }).waitFor()
  await page.locator('.mantine-Loader-root, [aria-busy="true"]').first().waitFor({ state: 'detached' })
  await page.evaluate(axe)
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme })
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
    const found = violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join('\n  ')}`)
    assert.deepEqual(found, [], `${heading}, ${colorScheme}`)
  }
}

test('an owner finds, changes and locks a person, and reads it in the audit log', async () => {
  const tenant = await createTenant()
  const [owner, grace] = await Promise.all([
    createUser(tenant.slug, { roles: ['owner'] }),
    createUser(tenant.slug, { given_name: 'Grace', family_name: 'Hopper' }),
  ])
  // A view is its address, and the sign-in returns to it.
  const { page, errors } = await open(`${tenant.issuer}/console/users?search=grace`, owner)
  assert.equal(page.url(), `${tenant.issuer}/console/users?search=grace`)
  assert.match(await page.title(), /^Users · Acme Billing$/)
  await page.getByRole('link', { name: 'Grace Hopper' }).waitFor()
  assert.equal(await page.getByRole('link', { name: 'Ada Lovelace' }).count(), 0, 'the search of the address is ignored')
  await page.getByLabel('Search').fill('ada')
  await page.getByRole('link', { name: 'Ada Lovelace' }).waitFor()
  assert.equal(page.url(), `${tenant.issuer}/console/users?search=ada`)
  await page.getByRole('navigation').getByRole('link', { name: 'Users' }).click()
  await page.getByRole('link', { name: 'Grace Hopper' }).waitFor()
  assert.equal(await page.getByLabel('Search').inputValue(), '', 'the input differs from the address')
  await listen(page, 'Users')

  // Ctrl-K finds people and opens the first with Enter.
  await page.keyboard.press('Control+k')
  await page.getByRole('dialog').getByRole('combobox').fill('hopper')
  await page.getByRole('option', { name: /Grace Hopper/ }).waitFor()
  await page.keyboard.press('Enter')
  await listen(page, 'Grace Hopper')

  // A change that is not saved survives a visit elsewhere. An error of the API stands at its field.
  await page.getByLabel('Email address').fill('nobody')
  await page.goto(`${tenant.issuer}/console/users`)
  await page.goBack()
  await page.getByText('Your unsaved changes are still here').waitFor()
  await page.getByRole('button', { name: 'Save changes' }).click()
  const field = page.locator('[aria-invalid="true"]')
  await field.waitFor()
  assert.equal(await field.inputValue(), 'nobody')
  errors.splice(0, errors.length, ...errors.filter((it) => !/status of 400/.test(it)))
  await page.getByRole('button', { name: 'Discard changes' }).click()
  await page.getByLabel('First name').fill('Grace B.')
  await page.getByRole('button', { name: 'Save changes' }).click()
  await page.getByText('Saved.').waitFor()

  for (const [tab, text] of [['Roles and groups', 'No roles'], ['Sessions', 'Not signed in anywhere'], ['Credentials', 'Recovery codes']]) {
    await page.getByRole('tab', { name: tab }).click()
    await page.getByText(text).waitFor()
    await listen(page, 'Grace B. Hopper')
  }
  await page.getByRole('button', { name: 'Actions' }).click()
  await page.getByRole('menuitem', { name: 'Lock' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Lock' }).click()
  await page.getByText('Locked', { exact: true }).waitFor()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.equal((await call('GET', tenant.slug, `/users/${grace.id}`)).status, 'locked')

  // What happened is on the person's page and in the log, with the value before and after.
  await page.getByRole('tab', { name: 'Activity' }).click()
  await page.getByRole('link', { name: 'Open in the audit log' }).click()
  await listen(page, 'Audit log')
  assert.equal(new URL(page.url()).searchParams.get('target'), grace.id)
  await page.getByRole('link', { name: 'user.lock' }).click()
  await page.getByRole('row', { name: 'status active locked' }).waitFor()
  await listen(page, 'user.lock')

  // The API's answer for a person who is gone has a sentence, and the request to ask about.
  await page.goto(`${tenant.issuer}/console/users/${tenant.id}`)
  await page.getByRole('button', { name: 'Copy Request' }).waitFor()
  await listen(page, 'Users')
  errors.splice(0, errors.length, ...errors.filter((it) => !/status of 404/.test(it)))

  // Signing out ends the session. A page that is still open asks for the password again.
  const left = await page.context().newPage()
  await left.goto(`${tenant.issuer}/console/audit`)
  await left.getByRole('heading', { level: 1, name: 'Audit log' }).waitFor()
  await page.getByRole('button', { name: /^Your account/ }).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL((url) => !url.pathname.includes('/console'))
  assert.equal((await page.request.get(`${tenant.issuer}/api/v1/users`)).status(), 401)
  await left.getByRole('button', { name: 'Refresh' }).click()
  await left.locator('input[name="password"]').waitFor()
  assert.deepEqual(errors, [])
})

test('an auditor is offered nothing to change', async () => {
  const tenant = await createTenant()
  const auditor = await createUser(tenant.slug, { roles: ['auditor'] })
  const { page, errors } = await open(`${tenant.issuer}/console/`, auditor)
  await listen(page, 'Users')
  assert.equal(await page.getByRole('link', { name: 'Add a user' }).count(), 0)
  assert.deepEqual(await page.getByRole('navigation').getByRole('listitem').allInnerTexts(), ['Users', 'Audit log'])
  await page.getByRole('link', { name: 'Ada Lovelace' }).click()
  await page.getByRole('tab', { name: 'Profile' }).waitFor()
  for (const name of ['Actions', 'Save changes']) assert.equal(await page.getByRole('button', { name }).count(), 0, name)
  assert.deepEqual(errors, [])
})

test('an operator onboards a tenant', async () => {
  const operator = await createUser('platform', { roles: ['owner'] })
  const { page, errors } = await open(`${server}/t/platform/console/tenants/new`, operator)
  const name = `Übermut ${operator.id.slice(-12)}`
  await page.getByLabel('Name', { exact: true }).fill(name)
  await listen(page, 'Onboard a tenant')
  await page.getByRole('button', { name: 'Create the tenant' }).click()
  await listen(page, name)
  await page.getByRole('link', { name: 'All tenants' }).click()
  await listen(page, 'Tenants')
  const slug = `ubermut-${operator.id.slice(-12)}`
  const made = await fetch(`${server}/t/${slug}/.well-known/openid-configuration`)
  assert.equal(made.status, 200, `there is no tenant ${slug}`)
  assert.deepEqual(errors, [])
})
