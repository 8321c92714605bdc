// Chromium, and a person who signs in with it.
import { after } from 'node:test'
import { chromium } from 'playwright-core'
import * as environment from './environment.mjs'

/** A page of a new browser that ends with the file's tests. */
export async function openPage() {
  const [page] = await openPages(1)
  return page
}

/** Pages of one new browser, which share its cookies. */
export async function openPages(count) {
  const browser = await chromium.launch({ executablePath: environment.chromium(), args: ['--no-sandbox', '--disable-dev-shm-usage'] })
  after(() => browser.close())
  const context = await browser.newContext()
  context.setDefaultTimeout(20_000)
  return Promise.all(Array.from({ length: count }, () => context.newPage()))
}

/** Fills the hosted sign-in page in. */
export async function signIn(page, { email, password }) {
  await page.fill('input[name="username"]', email)
  await page.fill('input[name="password"]', password)
  await page.locator('main form:has(input[name="password"]) button[type=submit]').click()
}
