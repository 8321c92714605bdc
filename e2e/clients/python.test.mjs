// Clients from PyPI: Authlib, mozilla-django-oidc, django-allauth, PyJWT and Cerbos.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { createTown } from '../lib/application.mjs'
import { createApplication } from '../lib/management.mjs'
import { deciding, publish } from '../lib/policies.mjs'
import { startSidecar } from '../lib/sidecar.mjs'
import { python, signInAt } from '../lib/site.mjs'

const town = await createTown()
const { tenant, person } = town

/** What a program prints. */
async function output(file, env) {
  const [program, ...args] = python(file)
  return (await promisify(execFile)(program, args, { env })).stdout
}

test('Authlib signs a person in to a Flask site', async () => {
  const { claims, info } = await signInAt(python('authlib_site.py'), town)
  assert.equal(claims.sub, person.id)
  assert.equal(claims.name, 'Ada Lovelace')
  assert.equal(info.email, person.email)
})

test('mozilla-django-oidc signs a person in', async () => {
  const user = await signInAt(python('django_site.py', 'mozilla'), { ...town, login: '/oidc/authenticate/', callback: '/oidc/callback/' })
  assert.deepEqual(user, { signed_in: true, email: person.email })
})

test('django-allauth signs a person in', async () => {
  const user = await signInAt(python('django_site.py', 'allauth'), { ...town, login: '/oidc/oidc/gatehouse/login/', callback: '/oidc/oidc/gatehouse/login/callback/' })
  assert.deepEqual(user, { signed_in: true, email: person.email })
})

test('Authlib authenticates with a client assertion, and PyJWT verifies the token', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const directory = await mkdtemp(join(tmpdir(), 'gatehouse-e2e-'))
  try {
    const path = join(directory, 'key.pem')
    await writeFile(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    const created = await createApplication(tenant.slug, {
      name: 'Reports', type: 'machine', auth_method: 'private_key_jwt', token_endpoint_audience: true,
      jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' }] },
    })
    const claims = JSON.parse(await output('machine.py', { ISSUER: tenant.issuer, CLIENT_ID: created.client_id, PRIVATE_KEY: path }))
    assert.equal(claims.client_id, created.client_id)
  } finally {
    await rm(directory, { recursive: true })
  }
})

test("Cerbos' SDK asks for decisions at pdp-proxy", async () => {
  await publish(tenant.slug, { 'document.yaml': `
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: document
  version: default
  rules:
    - {actions: [view], effect: EFFECT_ALLOW, roles: [employee], condition: {match: {expr: R.attr.owner == P.id}}}
` })
  const sidecar = await startSidecar(tenant, await deciding(tenant))
  try {
    const printed = await output('cerbos_check.py', { CERBOS_HTTP: sidecar.http, CERBOS_GRPC: sidecar.grpc })
    assert.equal(printed, 'peter True True\nsamir False False\n')
  } finally {
    await sidecar.stop()
  }
})
