// npm oauth4webapi, one layer lower: it checks every message before it uses it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { Visitor } from '../lib/forms.mjs'
import { createApplication, createTenant, createUser } from '../lib/management.mjs'

const redirectURI = 'http://127.0.0.1:9/callback'
const plainHTTP = { [oauth.allowInsecureRequests]: true }

const tenant = await createTenant()
const user = await createUser(tenant.slug)
const issuer = new URL(tenant.issuer)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oidc', ...plainHTTP }))

async function register(fields) {
  const created = await createApplication(tenant.slug, { name: 'Acme Portal', type: 'web', redirect_uris: [redirectURI], ...fields })
  return { client: { client_id: created.client_id }, authentication: oauth.ClientSecretBasic(created.client_secret ?? 'none') }
}

async function authorizationRequest(client, parameters = {}) {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const nonce = oauth.generateRandomNonce()
  const address = new URL(as.authorization_endpoint)
  address.search = new URLSearchParams({
    client_id: client.client_id, redirect_uri: redirectURI, response_type: 'code', scope: 'openid email offline_access', state, nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...parameters,
  }).toString()
  return { address, verifier, state, nonce }
}

async function redeem({ client, authentication }, answer, { verifier, state, nonce }) {
  const parameters = oauth.validateAuthResponse(as, client, answer, state)
  const response = await oauth.authorizationCodeGrantRequest(as, client, authentication, parameters, redirectURI, verifier, plainHTTP)
  assert.match(response.headers.get('cache-control'), /no-store/)
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: nonce, requireIdToken: true })
  await oauth.validateApplicationLevelSignature({ ...as }, response, plainHTTP)
  return tokens
}

async function signIn(application, parameters, visitor = new Visitor()) {
  const request = await authorizationRequest(application.client, parameters)
  const { url } = await visitor.signIn(request.address, redirectURI, { username: user.email, password: user.password })
  return { tokens: await redeem(application, url, request), visitor }
}

// They come before the tenant's first key. In a tenant with keys EdDSA signs ten minutes after an
// application names it.
const applications = {}
for (const algorithm of ['ES256', 'RS256', 'EdDSA']) applications[algorithm] = await register({ id_token_alg: algorithm })

for (const algorithm of ['ES256', 'RS256', 'EdDSA']) {
  test(`code with PKCE and an ID token signed with ${algorithm}`, async () => {
    const application = applications[algorithm]
    application.client.id_token_signed_response_alg = algorithm === 'EdDSA' ? 'EdDSA' : algorithm
    const { tokens } = await signIn(application)
    const header = JSON.parse(Buffer.from(tokens.id_token.split('.')[0], 'base64url'))
    assert.equal(header.alg, algorithm)
    const claims = oauth.getValidatedIdTokenClaims(tokens)
    const response = await oauth.userInfoRequest(as, application.client, tokens.access_token, plainHTTP)
    const info = await oauth.processUserInfoResponse(as, application.client, claims.sub, response)
    assert.equal(info.email, user.email)
  })
}

test('the answer as a form posted to the application', async () => {
  const application = await register()
  const { visitor } = await signIn(application)
  const request = await authorizationRequest(application.client, { response_mode: 'form_post' })
  const page = await visitor.open(request.address)
  assert.equal(page.status, 200)
  const form = page.forms.find((f) => f.action === redirectURI)
  assert.equal(form.method.toLowerCase(), 'post')
  const answer = new URLSearchParams(form.inputs.filter((i) => i.name).map((i) => [i.name, i.value]))
  const tokens = await redeem(application, answer, request)
  assert.ok(tokens.id_token)
})

test('a JWT access token is one of RFC 9068', async () => {
  const application = await register()
  const { tokens } = await signIn(application)
  const [header, claims] = tokens.access_token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')))
  assert.equal(header.typ, 'at+jwt')
  const audience = [claims.aud].flat()[0]
  const request = new Request('http://127.0.0.1:9/resource', { headers: { authorization: `Bearer ${tokens.access_token}` } })
  const validated = await oauth.validateJwtAccessToken(as, request, audience, plainHTTP)
  assert.equal(validated.client_id, application.client.client_id)
})

test('refresh keeps the subject and the time of authentication', async () => {
  const application = await register()
  const { tokens } = await signIn(application, { max_age: '3600' })
  const before = oauth.getValidatedIdTokenClaims(tokens)
  const response = await oauth.refreshTokenGrantRequest(as, application.client, application.authentication, tokens.refresh_token, plainHTTP)
  const next = await oauth.processRefreshTokenResponse(as, application.client, response)
  const after = oauth.getValidatedIdTokenClaims(next)
  if (after) {
    assert.equal(after.sub, before.sub)
    assert.equal(after.auth_time, before.auth_time)
  }
  assert.notEqual(next.refresh_token, tokens.refresh_token)
})

test('client credentials, introspection and revocation', async () => {
  const application = await register({ type: 'machine', redirect_uris: undefined, access_token: 'opaque' })
  const { client, authentication } = application
  const granted = await oauth.clientCredentialsGrantRequest(as, client, authentication, {}, plainHTTP)
  const { access_token: token } = await oauth.processClientCredentialsResponse(as, client, granted)
  const introspect = async () => {
    const response = await oauth.introspectionRequest(as, client, authentication, token, plainHTTP)
    assert.match(response.headers.get('cache-control'), /no-store/)
    return oauth.processIntrospectionResponse(as, client, response)
  }
  const live = await introspect()
  assert.equal(live.active, true)
  assert.equal(live.client_id, client.client_id)
  assert.ok(live.exp > Date.now() / 1000)
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, token, plainHTTP))
  assert.deepEqual(await introspect(), { active: false })
})

test('a redirect URI that differs in one byte gets a page, never a redirect', async () => {
  const { client } = await register()
  for (const wrong of [redirectURI + '/', redirectURI + '?x', redirectURI.replace('9', '10') + 'x', 'https://evil.example/callback']) {
    const { address } = await authorizationRequest(client, { redirect_uri: wrong })
    const response = await fetch(address, { redirect: 'manual' })
    assert.equal(response.headers.get('location'), null, wrong)
    assert.ok(response.status >= 400 && response.status < 500, `${wrong}: ${response.status}`)
  }
})
