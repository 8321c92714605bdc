// express-openid-connect, as its README says for a regular web application.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import express from 'express'
import openid from 'express-openid-connect'
import { createTown, register, serve, shown } from '../lib/application.mjs'
import { Visitor } from '../lib/forms.mjs'

const { auth, requiresAuth } = openid

test('express-openid-connect signs a person in and out', async () => {
  const { tenant, person } = await createTown()
  const app = express()
  const origin = await serve(app)
  const { client_id: clientID, client_secret: clientSecret } = await register(tenant, '/callback')

  app.use(auth({
    authRequired: false,
    idpLogout: true,
    baseURL: origin,
    issuerBaseURL: tenant.issuer,
    clientID,
    clientSecret,
    secret: 'a long, randomly-generated string stored in env',
    authorizationParams: { response_type: 'code', scope: 'openid profile email' },
  }))
  app.get('/', (request, response) => response.json({ signedIn: request.oidc.isAuthenticated() }))
  app.get('/profile', requiresAuth(), async (request, response) => response.json({ claims: request.oidc.user, info: await request.oidc.fetchUserInfo() }))

  const visitor = new Visitor()
  const { claims, info } = shown(await visitor.reach(origin + '/profile', person))
  assert.equal(claims.sub, person.id)
  assert.equal(claims.name, 'Ada Lovelace')
  assert.equal(info.email, person.email)

  assert.deepEqual(shown(await visitor.reach(origin + '/logout', person)), { signedIn: false })
  const page = await visitor.open(origin + '/profile')
  assert.ok(page.formWith('username') ?? page.formWith('password'), `the person was not asked again at ${page.url}`)
})
