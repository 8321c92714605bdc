// passport-openidconnect, as its README says.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import express from 'express'
import session from 'express-session'
import passport from 'passport'
import OpenIDConnectStrategy from 'passport-openidconnect'
import { createTown, register, serve, shown } from '../lib/application.mjs'
import { Visitor } from '../lib/forms.mjs'

test('passport-openidconnect signs a person in', async () => {
  const { tenant, person } = await createTown()
  const issuer = tenant.issuer
  const { client_id: clientID, client_secret: clientSecret } = await register(tenant, '/callback')
  const app = express()
  const origin = await serve(app)

  passport.use(new OpenIDConnectStrategy({
    issuer,
    authorizationURL: issuer + '/oauth2/authorize',
    tokenURL: issuer + '/oauth2/token',
    userInfoURL: issuer + '/oauth2/userinfo',
    clientID,
    clientSecret,
    callbackURL: origin + '/callback',
    scope: ['profile', 'email'],
    nonce: true, // binds the request; without it allow_unbound_code is needed
  }, (issuer, profile, done) => done(null, profile)))
  passport.serializeUser((user, done) => done(null, user))
  passport.deserializeUser((user, done) => done(null, user))

  app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }))
  app.use(passport.authenticate('session'))
  app.get('/login', passport.authenticate('openidconnect'))
  app.get('/callback', passport.authenticate('openidconnect', { failureRedirect: '/failed', failureMessage: true }), (_, response) => response.redirect('/'))
  app.get('/failed', (request, response) => response.status(401).json(request.session.messages))
  app.get('/', (request, response) => response.json(request.user))

  const user = shown(await new Visitor().reach(origin + '/login', person))
  assert.equal(user.id, person.id)
  assert.equal(user.displayName, 'Ada Lovelace')
  assert.equal(user.emails[0].value, person.email)
})
