// Clients from Go modules: go-oidc with golang.org/x/oauth2, the relying party of zitadel/oidc, and
// oauth2-proxy.
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTown, register, serve, shown } from '../lib/application.mjs'
import * as environment from '../lib/environment.mjs'
import { Visitor } from '../lib/forms.mjs'
import { createGroup, createUser } from '../lib/management.mjs'
import { signInAt, start } from '../lib/site.mjs'

const town = await createTown()
const { tenant, person } = town

for (const library of ['go-oidc', 'zitadel']) {
  test(`${library} signs a person in`, async () => {
    const { claims, info } = await signInAt([environment.go() + '/go', library], town)
    assert.equal(claims.sub, person.id)
    assert.equal(claims.name, 'Ada Lovelace')
    assert.equal(info.email, person.email)
  })
}

test('go-oidc knows a person by a pairwise sub', async () => {
  const known = async (sector) => {
    const fields = { subject_type: 'pairwise', sector_identifier: sector }
    const { claims, info } = await signInAt([environment.go() + '/go', 'go-oidc'], { ...town, fields })
    assert.equal(info.sub, claims.sub) // go-oidc refuses other user information too
    return claims.sub
  }
  const [one, again, other] = await Promise.all(['a.example.com', 'a.example.com', 'b.example.com'].map(known))
  assert.equal(again, one)
  assert.equal(new Set([one, other, person.id]).size, 3)
})

test('golang.org/x/oauth2 signs a person in on a device', async () => {
  const { client_id } = await register(tenant, '/callback', { type: 'native', redirect_uris: [], device_authorization: true })
  const { site, log } = start([environment.go() + '/go', 'device'], { ISSUER: tenant.issuer, CLIENT_ID: client_id, CLIENT_SECRET: '' })
  const lines = createInterface(site.stdout)[Symbol.asyncIterator]()
  const { value: address } = await lines.next()
  assert.ok(address, log())
  await new Visitor().answerDevice(address, person)
  const { value: learned } = await lines.next()
  assert.ok(learned, log())
  assert.equal(JSON.parse(learned).sub, person.id)
})

test('oauth2-proxy signs a person in', async () => {
  const upstream = await serve((request, response) => response.end(JSON.stringify(request.headers)))
  const origin = await oauth2Proxy(await register(tenant, '/oauth2/callback'), upstream)
  const headers = shown(await new Visitor().reach(origin, person))
  assert.equal(headers['x-forwarded-email'], person.email)
})

test('oauth2-proxy admits the members of allowed_groups only', async () => {
  const upstream = await serve((request, response) => response.end(JSON.stringify(request.headers)))
  const member = await createUser(tenant.slug, { email_verified: true })
  await createGroup(tenant.slug, 'engineers', member)
  const application = await register(tenant, '/oauth2/callback')
  const origin = await oauth2Proxy(application, upstream, '--scope=openid email profile groups', '--allowed-group=engineers')
  const headers = shown(await new Visitor().reach(origin, member))
  assert.equal(headers['x-forwarded-email'], member.email)
  assert.equal(headers['x-forwarded-groups'], 'engineers')
  const refused = await new Visitor().reach(origin, person)
  assert.equal(refused.status, 403, refused.words.slice(0, 600))
})

/** Starts oauth2-proxy before an upstream, with the flags that its documentation gives for OpenID Connect. */
async function oauth2Proxy({ client_id, client_secret }, upstream, ...flags) {
  const address = `127.0.0.1:${await freePort()}`
  const origin = `http://${address}`
  const { site, log } = start([
    environment.go() + '/oauth2-proxy',
    '--provider=oidc',
    `--oidc-issuer-url=${tenant.issuer}`,
    `--client-id=${client_id}`,
    `--client-secret=${client_secret}`,
    `--redirect-url=${origin}/oauth2/callback`,
    '--email-domain=*',
    '--code-challenge-method=S256', // binds the request
    '--cookie-secret=0123456789abcdef0123456789abcdef',
    '--cookie-secure=false', // no TLS here
    '--skip-provider-button',
    `--http-address=${address}`,
    `--upstream=${upstream}`,
    ...flags,
  ])
  for (let tries = 0; !(await fetch(origin + '/ping').catch(() => false)); tries++) {
    assert.ok(tries < 200 && site.exitCode === null, `oauth2-proxy did not start:\n${log()}`)
    await sleep(50)
  }
  return origin
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}
