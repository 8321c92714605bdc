// jose, as its documentation says for a service that accepts access tokens by the key set.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { createTown } from '../lib/application.mjs'
import { createApplication } from '../lib/management.mjs'

test('jose verifies access tokens of one issuer only', async () => {
  const [{ tenant }, other] = await Promise.all([createTown(), createTown()])
  const keys = createRemoteJWKSet(new URL(tenant.issuer + '/oauth2/jwks'))
  const verify = (token) => jwtVerify(token, keys, { issuer: tenant.issuer, audience: tenant.issuer, typ: 'at+jwt' })

  const mine = await machineToken(tenant)
  const { payload, protectedHeader } = await verify(mine.token)
  assert.equal(protectedHeader.typ, 'at+jwt')
  assert.equal(payload.client_id, mine.client)
  await assert.rejects(verify((await machineToken(other.tenant)).token), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
})

async function machineToken(tenant) {
  const created = await createApplication(tenant.slug, { name: 'Reports', type: 'machine' })
  const response = await fetch(tenant.issuer + '/oauth2/token', {
    method: 'POST',
    headers: { authorization: 'Basic ' + btoa(`${created.client_id}:${created.client_secret}`) },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  })
  return { client: created.client_id, token: (await response.json()).access_token }
}
