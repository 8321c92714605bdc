// The authenticator of kube-apiserver, which accepts https issuers only, as its flags and as an
// AuthenticationConfiguration set it up.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as oidc from 'openid-client'
import { createTown } from '../lib/application.mjs'
import * as environment from '../lib/environment.mjs'
import { Visitor } from '../lib/forms.mjs'
import { createApplication, createGroup, createUser } from '../lib/management.mjs'
import { startSite } from '../lib/site.mjs'

const { tenant, person } = await createTown()
const redirectURI = 'http://localhost:8000' // kubelogin's
const native = (name) => createApplication(tenant.slug, { name, type: 'native', redirect_uris: ['http://localhost'] })
const cluster = await native('Kubernetes')
await createGroup(tenant.slug, 'engineers', person)
const { origin } = await startSite([environment.go() + '/go', 'kubernetes'], tenant, cluster)

/** Signs a person in as kubectl's plugin does, and returns the ID token. */
async function signIn({ email, password }, scope = 'openid email profile groups', { client_id } = cluster) {
  const config = await oidc.discovery(new URL(tenant.issuer), client_id, undefined, oidc.None())
  const verifier = oidc.randomPKCECodeVerifier()
  const address = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectURI, scope, code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  })
  const { url } = await new Visitor().signIn(address, redirectURI, { username: email, password })
  return (await oidc.authorizationCodeGrant(config, url, { pkceCodeVerifier: verifier })).id_token
}

/** Who the API server takes the bearer of a token for. */
async function review(path, token) {
  const response = await fetch(origin + path, { headers: { authorization: `Bearer ${token}` } })
  const text = await response.text()
  return response.ok ? JSON.parse(text) : text.trim()
}

test('kube-apiserver knows a person and their groups', async () => {
  const token = await signIn(person)
  const byFlags = await review('/flags', token)
  assert.equal(byFlags.username, person.email)
  assert.deepEqual(byFlags.groups, ['gatehouse:engineers'])

  const byFile = await review('/file', token)
  assert.equal(byFile.username, 'gatehouse:' + person.email)
  assert.deepEqual(byFile.groups, ['gatehouse:engineers'])
  assert.equal(byFile.uid, person.id)
  assert.deepEqual(byFile.extra, { 'example.com/name': ['Ada Lovelace'] })
})

test('kube-apiserver knows a person by the scopes of kubelogin alone, which bring no name', async () => {
  const token = await signIn(person, 'openid email groups')
  for (const path of ['/flags', '/file']) {
    const known = await review(path, token)
    assert.deepEqual(known.groups, ['gatehouse:engineers'], JSON.stringify(known))
  }
})

test('kube-apiserver knows a person without groups', async () => {
  const token = await signIn(await createUser(tenant.slug, { email_verified: true }))
  for (const path of ['/flags', '/file']) {
    const known = await review(path, token)
    assert.deepEqual(known.groups ?? [], [], known)
  }
})

test('kube-apiserver refuses an unverified address, and a token of another application', async () => {
  const unverified = await signIn(await createUser(tenant.slug))
  assert.match(await review('/flags', unverified), /email not verified/)
  assert.match(await review('/file', unverified), /the email address is not verified/)
  const foreign = await signIn(person, 'openid email profile', await native('Portal'))
  for (const path of ['/flags', '/file']) assert.match(await review(path, foreign), /expected audience/)
})
