// The management API, as a script would use it: a token by client credentials, then JSON.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { admin, server } from './environment.mjs'

let token

async function operatorToken() {
  const response = await fetch(`${server}/t/platform/oauth2/token`, {
    method: 'POST',
    headers: { authorization: 'Basic ' + Buffer.from(`${encodeURIComponent(admin.id)}:${encodeURIComponent(admin.secret)}`).toString('base64') },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  })
  const body = await response.json()
  assert.equal(response.status, 200, JSON.stringify(body))
  return body.access_token
}

/** Calls the management API of one tenant and returns the decoded answer; anything but the expected status fails. */
export function call(method, tenant, path, body, expected) {
  return send(method, tenant, path, body && 'application/json', body && JSON.stringify(body), expected)
}

/** The same with a body of any type. */
export async function send(method, tenant, path, type, body, expected = method === 'POST' ? 201 : 200) {
  token ??= await operatorToken()
  const response = await fetch(`${server}/t/${tenant}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(type && { 'content-type': type }) },
    body,
  })
  const text = await response.text()
  assert.equal(response.status, expected, `${method} ${path}: ${text}`)
  return text ? JSON.parse(text) : undefined
}

/** A new tenant of this test's own: {id, slug, issuer, …}. */
export function createTenant(settings) {
  const slug = 'e2e-' + randomBytes(5).toString('hex')
  return call('POST', 'platform', '/tenants', { slug, name: 'Acme Billing', ...(settings && { settings }) })
}

/** A new active user with the password given back beside it. */
export async function createUser(tenant, fields = {}) {
  const password = 'correct horse ' + randomBytes(6).toString('hex')
  const email = `ada.${randomBytes(4).toString('hex')}@example.com`
  const user = await call('POST', tenant, '/users', { email, password, given_name: 'Ada', family_name: 'Lovelace', ...fields })
  return { ...user, password }
}

export const createApplication = (tenant, fields) => call('POST', tenant, '/applications', fields)

/** A group of a tenant with these members. */
export async function createGroup(tenant, name, ...members) {
  const group = await call('POST', tenant, '/groups', { name })
  for (const { id } of members) await call('POST', tenant, `/groups/${group.id}/members`, { user_id: id }, 204)
  return group
}
