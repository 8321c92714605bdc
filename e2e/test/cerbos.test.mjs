// Points npm @cerbos/grpc and @cerbos/http at a tenant. Against a Cerbos server only the address
// would differ, and the token that goes with every request. At gatehouse pdp-proxy the address
// alone differs.
import assert from 'node:assert/strict'
import { createSign, generateKeyPairSync } from 'node:crypto'
import { after, test } from 'node:test'
import { GRPC } from '@cerbos/grpc'
import { HTTP } from '@cerbos/http'
import { call, createTenant, createUser } from '../lib/management.mjs'
import { decider, deciding, publish } from '../lib/policies.mjs'
import { startSidecar } from '../lib/sidecar.mjs'
import { grpc } from '../lib/environment.mjs'

const tenant = await createTenant()

// The key of a foreign identity provider, whose JWTs come as auxiliary data.
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwt = (claims) => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'ES256', kid: 'k1', typ: 'JWT' })}.${part({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`
  return `${signed}.${createSign('sha256').update(signed).sign({ key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}
const keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }] })
await call('PATCH', tenant.slug, '/policies/settings', { schema_enforcement: 'warn', key_sets: [{ id: 'partner', keys }] })

await publish(tenant.slug, {
  'album.yaml': `
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: album
  version: default
  importDerivedRoles: [album_roles]
  rules:
    - actions: ["*"]
      effect: EFFECT_ALLOW
      derivedRoles: [owner]
    - name: public-albums
      actions: [view]
      effect: EFFECT_ALLOW
      roles: [user, "gatehouse:user"]
      condition: {match: {expr: R.attr.public == true}}
      output: {when: {ruleActivated: '"seen by " + P.id'}}
    - actions: [print]
      effect: EFFECT_ALLOW
      roles: ["*"]
      condition: {match: {expr: '"printing" in request.auxData.jwt.permissions'}}
  schemas:
    resourceSchema: {ref: "cerbos:///album.json"}
`,
  'album_roles.yaml': `
apiVersion: api.cerbos.dev/v1
derivedRoles:
  name: album_roles
  definitions:
    - {name: owner, parentRoles: ["*"], condition: {match: {expr: R.attr.owner == P.id}}}
`,
  '_schemas/album.json': '{"type": "object", "properties": {"public": {"type": "boolean"}}}',
})

const token = await decider(tenant)
const headers = { authorization: `Bearer ${token}` }
const overGRPC = new GRPC(grpc(), { tls: false, headers })
after(() => overGRPC.close())

const sidecar = await startSidecar(tenant, await deciding(tenant))
const besideGRPC = new GRPC(sidecar.grpc, { tls: false })
after(async () => {
  besideGRPC.close()
  await sidecar.stop()
})

const ada = { id: 'ada', roles: ['user'] }
const album = (id, attr) => ({ kind: 'album', id, attr })

const clients = {
  'gRPC': overGRPC,
  'HTTP': new HTTP(tenant.issuer, { headers }),
  'gRPC, pdp-proxy': besideGRPC,
  'HTTP, pdp-proxy': new HTTP(sidecar.http),
}
for (const [name, cerbos] of Object.entries(clients)) {
  test(`${name}: isAllowed, checkResource and checkResources`, async () => {
    assert.equal(await cerbos.isAllowed({ principal: ada, resource: album('a', { owner: 'ada' }), action: 'share' }), true)
    assert.equal(await cerbos.isAllowed({ principal: ada, resource: album('a', { owner: 'bob' }), action: 'share' }), false)
    const one = await cerbos.checkResource({ principal: ada, resource: album('a', { owner: 'bob', public: true }), actions: ['view', 'delete'] })
    assert.deepEqual([one.isAllowed('view'), one.isAllowed('delete')], [true, false])
    assert.equal(one.output('resource.album.vdefault#public-albums'), 'seen by ada')
    const many = await cerbos.checkResources(
      { principal: ada, resources: [{ resource: album('a', { owner: 'ada' }), actions: ['view', 'share'] }, { resource: album('b', { owner: 'bob', public: false }), actions: ['view'] }], includeMetadata: true },
      { headers: { 'x-request': '1' } },
    )
    assert.ok(many.isAllowed({ resource: { kind: 'album', id: 'a' }, action: 'share' }))
    assert.ok(!many.isAllowed({ resource: { kind: 'album', id: 'b' }, action: 'view' }))
    const found = many.findResult({ kind: 'album', id: 'a' })
    assert.deepEqual(found.metadata.effectiveDerivedRoles, ['owner'])
    assert.equal(found.metadata.actions.view.matchedPolicy, 'resource.album.vdefault')
    assert.ok(many.cerbosCallId)
  })

  test(`${name}: attributes against a schema`, async () => {
    const result = await cerbos.checkResource({ principal: ada, resource: album('a', { owner: 'ada', public: 'yes' }), actions: ['view'] })
    assert.ok(result.isAllowed('view')) // the tenant's setting is to warn
    assert.equal(result.validationErrors[0].path, '/public')
  })

  test(`${name}: planResources`, async () => {
    const plan = await cerbos.planResources({ principal: ada, resource: { kind: 'album' }, action: 'view', includeMetadata: true })
    assert.equal(plan.kind, 'KIND_CONDITIONAL')
    assert.match(plan.metadata.conditionString, /request\.resource\.attr\.owner/)
    const shared = await cerbos.planResources({ principal: ada, resource: { kind: 'album', attr: { owner: 'ada' } }, actions: ['view', 'share'] })
    assert.equal(shared.kind, 'KIND_ALWAYS_ALLOWED')
    const never = await cerbos.planResources({ principal: ada, resource: { kind: 'unheard_of' }, action: 'view' })
    assert.equal(never.kind, 'KIND_ALWAYS_DENIED')
  })

  test(`${name}: withPrincipal, and a JWT as auxiliary data`, async () => {
    const mine = cerbos.withPrincipal(ada, { jwt: { token: jwt({ permissions: ['printing'] }), keySetId: 'partner' } })
    assert.equal(await mine.isAllowed({ resource: album('a', { owner: 'bob' }), action: 'print' }), true)
    assert.equal(await cerbos.withPrincipal(ada, { jwt: { token: jwt({ permissions: [] }) } }).isAllowed({ resource: album('a', { owner: 'bob' }), action: 'print' }), false)
    const forged = jwt({ permissions: ['printing'] }).replace(/.{8}$/, 'AAAAAAAA')
    await assert.rejects(cerbos.withPrincipal(ada, { jwt: { token: forged } }).isAllowed({ resource: album('a', {}), action: 'print' }), /auxData/)
  })

  test(`${name}: serverInfo`, async () => {
    assert.match((await cerbos.serverInfo()).version, /^v?0\.55\./)
  })
}

test('principals from the directory', async () => {
  const user = await createUser(tenant.slug)
  const directory = { authorization: `Bearer ${await decider(tenant, 'directory')}` }
  const cerbos = new HTTP(tenant.issuer, { headers: directory })
  const principal = { id: user.id, roles: ['administrator-by-its-own-word'] }
  assert.equal(await cerbos.isAllowed({ principal, resource: album('a', { owner: 'bob', public: true }), action: 'view' }), true)
  assert.equal(await cerbos.isAllowed({ principal: { id: 'nobody', roles: ['user'] }, resource: album('a', { owner: 'bob', public: true }), action: 'view' }), false)
})

test('without a token, with a bad one, and with one that may not ask', async () => {
  const ask = (authorization) => new GRPC(grpc(), { tls: false, ...(authorization && { headers: { authorization } }) })
    .isAllowed({ principal: ada, resource: album('a', {}), action: 'view' })
  await assert.rejects(ask(), { code: 16 })
  await assert.rejects(ask('Bearer nonsense'), { code: 16 })
  await assert.rejects(ask(`Bearer ${token.slice(0, -8)}AAAAAAAA`), { code: 16 })
  const other = await createTenant()
  const elsewhere = new HTTP(other.issuer, { headers })
  await assert.rejects(elsewhere.isAllowed({ principal: ada, resource: album('a', {}), action: 'view' }))
})
