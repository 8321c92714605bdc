// npm openid-client, a certified relying party, against the whole provider.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as oidc from 'openid-client'
import { Visitor } from '../lib/forms.mjs'
import { createApplication, createTenant, createUser } from '../lib/management.mjs'

const redirectURI = 'http://127.0.0.1:9/callback'
const scope = 'openid profile email offline_access'
const plainHTTP = { execute: [oidc.allowInsecureRequests] } // the server under test is on loopback without TLS

const tenant = await createTenant()
const user = await createUser(tenant.slug)

/** An application of the tenant and openid-client's configuration for it. */
async function configure(fields, authentication) {
  const created = await createApplication(tenant.slug, { name: 'Acme Portal', ...fields })
  const config = await oidc.discovery(new URL(tenant.issuer), created.client_id, undefined, authentication(created.client_secret), plainHTTP)
  return { config, created }
}

/** Signs the visitor in and redeems the code. */
async function signIn(config, parameters = {}, visitor = new Visitor()) {
  const verifier = oidc.randomPKCECodeVerifier()
  const state = oidc.randomState()
  const nonce = oidc.randomNonce()
  const address = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectURI,
    scope,
    state,
    nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...parameters,
  })
  const { url, seen } = await visitor.signIn(address, redirectURI, { username: user.email, password: user.password })
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true }
  if (parameters.max_age !== undefined) checks.maxAge = Number(parameters.max_age)
  const redeem = () => oidc.authorizationCodeGrant(config, url, checks)
  return { tokens: await redeem(), redeem, seen, visitor, url }
}

// A client that tried HTTP Basic also gets a challenge (RFC 6749 §5.2). openid-client reports it
// instead of the body.
const challenged = (error, code) => code === 'invalid_client' && error.code === 'OAUTH_WWW_AUTHENTICATE_CHALLENGE' && error.status === 401

const refused = (promise, code) => assert.rejects(promise, (error) => error.error === code || challenged(error, code) || assert.fail(`want ${code}, got ${error.error ?? error}`))

const web = { type: 'web', redirect_uris: [redirectURI], post_logout_redirect_uris: ['http://127.0.0.1:9/signedout'] }

test('discovery answers at the OpenID Connect and at the RFC 8414 address alike', async () => {
  const { config } = await configure(web, oidc.ClientSecretBasic)
  const inserted = await oidc.discovery(new URL(tenant.issuer), 'x', undefined, oidc.None(), { ...plainHTTP, algorithm: 'oauth2' })
  const metadata = config.serverMetadata()
  assert.equal(metadata.issuer, tenant.issuer)
  assert.equal(inserted.serverMetadata().issuer, metadata.issuer)
  assert.ok(metadata.supportsPKCE('S256'))
  assert.ok(metadata.authorization_response_iss_parameter_supported)
  assert.ok(!metadata.code_challenge_methods_supported.includes('plain'))
})

test('code with PKCE, ID token, userinfo, single sign-on and sign-out', async () => {
  const { config, created } = await configure(web, oidc.ClientSecretBasic)
  const { tokens, seen, visitor } = await signIn(config)
  assert.ok(seen.includes('consent'), `consent was not asked: ${seen}`)
  const claims = tokens.claims()
  assert.equal(claims.iss, tenant.issuer)
  assert.equal(claims.aud.toString(), created.client_id)
  const info = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub)
  assert.equal(info.email, user.email)
  assert.equal(info.given_name, 'Ada')

  // Signed in and consented: the second time nothing is asked.
  const again = await signIn(config, {}, visitor)
  assert.deepEqual(again.seen, [])
  assert.equal(again.tokens.claims().sub, claims.sub)

  // max_age=0 is not absent: the password is asked again, and auth_time is there (Core §3.1.2.1).
  const fresh = await signIn(config, { max_age: '0' }, visitor)
  assert.ok(fresh.seen.includes('password'), `no password asked for max_age=0: ${fresh.seen}`)
  assert.equal(typeof fresh.tokens.claims().auth_time, 'number')

  const end = oidc.buildEndSessionUrl(config, {
    id_token_hint: fresh.tokens.id_token,
    post_logout_redirect_uri: 'http://127.0.0.1:9/signedout',
    state: 'bye',
  })
  const after = await visitor.open(end, { stopAt: 'http://127.0.0.1:9/signedout' })
  assert.equal(after.href, 'http://127.0.0.1:9/signedout?state=bye')

  // The session is gone, so prompt=none has no user.
  const silent = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectURI, scope, prompt: 'none', state: 's',
    code_challenge: await oidc.calculatePKCECodeChallenge('v'.repeat(43)), code_challenge_method: 'S256',
  })
  const answer = await visitor.open(silent, { stopAt: redirectURI })
  assert.equal(answer.searchParams.get('error'), 'login_required')
  assert.equal(answer.searchParams.get('iss'), tenant.issuer)
  assert.equal(answer.searchParams.get('state'), 's')
})

test('a code is redeemed once, and its replay ends what it gave', async () => {
  const { config } = await configure({ ...web, auth_method: 'client_secret_post' }, oidc.ClientSecretPost)
  const { tokens, redeem } = await signIn(config)
  await refused(redeem(), 'invalid_grant')
  await refused(oidc.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant')
})

test('a code without its verifier, or with another, is refused', async () => {
  const { config } = await configure(web, oidc.ClientSecretBasic)
  const visitor = new Visitor()
  for (const verifier of [undefined, oidc.randomPKCECodeVerifier()]) {
    const address = oidc.buildAuthorizationUrl(config, {
      redirect_uri: redirectURI, scope, state: 's',
      code_challenge: await oidc.calculatePKCECodeChallenge(oidc.randomPKCECodeVerifier()), code_challenge_method: 'S256',
    })
    const { url } = await visitor.signIn(address, redirectURI, { username: user.email, password: user.password })
    await refused(oidc.authorizationCodeGrant(config, url, { pkceCodeVerifier: verifier, expectedState: 's' }), 'invalid_grant')
  }
})

test('denied consent comes back as access_denied', async () => {
  const { config } = await configure(web, oidc.ClientSecretBasic)
  const address = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectURI, scope, state: 's',
    code_challenge: await oidc.calculatePKCECodeChallenge('v'.repeat(43)), code_challenge_method: 'S256',
  })
  const { url } = await new Visitor().signIn(address, redirectURI, { username: user.email, password: user.password, consent: 'deny' })
  await refused(oidc.authorizationCodeGrant(config, url, { pkceCodeVerifier: 'v'.repeat(43), expectedState: 's' }), 'access_denied')
})

test('refresh rotates, two tabs get the same successor, an old one ends the family', async () => {
  const { config } = await configure(web, oidc.ClientSecretBasic)
  const { tokens } = await signIn(config)
  const first = await oidc.refreshTokenGrant(config, tokens.refresh_token)
  assert.notEqual(first.refresh_token, tokens.refresh_token)
  assert.equal(first.claims()?.sub ?? tokens.claims().sub, tokens.claims().sub)
  const tab = await oidc.refreshTokenGrant(config, tokens.refresh_token)
  assert.equal(tab.refresh_token, first.refresh_token, 'within the grace another successor was made')
  const second = await oidc.refreshTokenGrant(config, first.refresh_token)
  // Two generations old: no tab is that late.
  await refused(oidc.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant')
  await refused(oidc.refreshTokenGrant(config, second.refresh_token), 'invalid_grant')
})

test('a public client has PKCE instead of a secret', async () => {
  const { config, created } = await configure({ type: 'spa', redirect_uris: [redirectURI] }, oidc.None)
  assert.equal(created.client_secret, undefined)
  const { tokens } = await signIn(config)
  assert.equal(tokens.claims().aud.toString(), created.client_id)
  const next = await oidc.refreshTokenGrant(config, tokens.refresh_token)
  assert.ok(next.access_token)
})

test('a device signs in by a code, once', async () => {
  const { config } = await configure({ type: 'native', device_authorization: true }, oidc.None)
  const device = await oidc.initiateDeviceAuthorization(config, { scope })
  const visitor = new Visitor()
  const { seen } = await visitor.answerDevice(device.verification_uri_complete, user)
  assert.deepEqual(seen, ['user code', 'password', 'consent'])
  const quick = { ...device, interval: 1 } // the person has answered already
  const tokens = await oidc.pollDeviceAuthorizationGrant(config, quick)
  const info = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
  assert.equal(info.email, user.email)
  assert.ok((await oidc.refreshTokenGrant(config, tokens.refresh_token)).access_token)
  await refused(oidc.pollDeviceAuthorizationGrant(config, quick), 'invalid_grant')

  // The person is asked again, although signed in and consented.
  const second = await oidc.initiateDeviceAuthorization(config, { scope })
  assert.deepEqual((await visitor.answerDevice(second.verification_uri_complete, user, 'deny')).seen, ['user code', 'consent'])
  await refused(oidc.pollDeviceAuthorizationGrant(config, { ...second, interval: 1 }), 'access_denied')
})

test('introspection and revocation of opaque tokens', async () => {
  const { config } = await configure({ ...web, access_token: 'opaque' }, oidc.ClientSecretBasic)
  const { tokens } = await signIn(config)
  assert.match(tokens.access_token, /^gh_at_/)
  const live = await oidc.tokenIntrospection(config, tokens.access_token)
  assert.equal(live.active, true)
  assert.equal(live.sub, tokens.claims().sub)
  await oidc.tokenRevocation(config, tokens.refresh_token)
  await refused(oidc.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant')
  assert.equal((await oidc.tokenIntrospection(config, tokens.access_token)).active, false)
  await assert.rejects(oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub))
  assert.equal((await oidc.tokenIntrospection(config, 'gh_at_nonsense')).active, false)
})

test('one application cannot revoke or read the tokens of another', async () => {
  const one = await configure({ ...web, access_token: 'opaque' }, oidc.ClientSecretBasic)
  const two = await configure({ ...web, access_token: 'opaque' }, oidc.ClientSecretBasic)
  const { tokens } = await signIn(one.config)
  assert.equal((await oidc.tokenIntrospection(two.config, tokens.access_token)).active, false)
  await oidc.tokenRevocation(two.config, tokens.refresh_token).catch(() => {})
  assert.equal((await oidc.tokenIntrospection(one.config, tokens.access_token)).active, true)
})

for (const [name, authentication] of Object.entries({ basic: oidc.ClientSecretBasic, post: oidc.ClientSecretPost })) {
  test(`client credentials by ${name}`, async () => {
    const { config, created } = await configure({ type: 'machine', auth_method: `client_secret_${name}` }, authentication)
    const tokens = await oidc.clientCredentialsGrant(config)
    const [, payload] = tokens.access_token.split('.')
    const claims = JSON.parse(Buffer.from(payload, 'base64url'))
    assert.equal(claims.client_id, created.client_id)
    assert.equal(claims.iss, tenant.issuer)
    assert.equal(tokens.refresh_token, undefined)
    const wrong = await oidc.discovery(new URL(tenant.issuer), created.client_id, undefined, authentication('x'.repeat(43)), plainHTTP)
    await refused(oidc.clientCredentialsGrant(wrong), 'invalid_client')
  })
}

test('client credentials by private_key_jwt', async () => {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const jwk = { ...(await crypto.subtle.exportKey('jwk', keys.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }
  const fields = { type: 'machine', auth_method: 'private_key_jwt', jwks: { keys: [jwk] } }
  const { config } = await configure(fields, () => oidc.PrivateKeyJwt({ key: keys.privateKey, kid: 'k1' }))
  assert.ok((await oidc.clientCredentialsGrant(config)).access_token)
  const other = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const forged = await configure(fields, () => oidc.PrivateKeyJwt({ key: other.privateKey, kid: 'k1' }))
  await refused(oidc.clientCredentialsGrant(forged.config), 'invalid_client')
})
