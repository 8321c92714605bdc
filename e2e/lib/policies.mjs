// Policies of a tenant, and who may ask for decisions by them.
import assert from 'node:assert/strict'
import { call, createApplication, send } from './management.mjs'

/** Writes the files (path → text) into the tenant's draft and publishes it. */
export async function publish(tenant, files) {
  for (const [path, text] of Object.entries(files)) {
    await send('PUT', tenant, `/policies/draft/files/${path}`, 'application/yaml', text)
  }
  return call('POST', tenant, '/policies/draft/publish', { reason: 'a test' })
}

/** A new machine application that may ask for decisions. */
export const deciding = (tenant, mode = 'asserted') =>
  createApplication(tenant.slug, { name: `Decisions ${mode}`, type: 'machine', principal_mode: mode, scopes: ['gatehouse:decide'] })

/** An access token of a new machine application that asserts principals, or takes them from the directory. */
export async function decider(tenant, mode = 'asserted') {
  const created = await deciding(tenant, mode)
  const response = await fetch(`${tenant.issuer}/oauth2/token`, {
    method: 'POST',
    headers: { authorization: 'Basic ' + Buffer.from(`${created.client_id}:${created.client_secret}`).toString('base64') },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'gatehouse:decide' }),
  })
  const body = await response.json()
  assert.equal(response.status, 200, JSON.stringify(body))
  return body.access_token
}
