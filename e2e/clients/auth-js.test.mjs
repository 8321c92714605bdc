// Auth.js (@auth/core) and next-auth 4, each as its documentation says for a provider of one's own.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { Auth } from '@auth/core'
import express from 'express'
import { createTown, register, serve, shown } from '../lib/application.mjs'
import { Visitor } from '../lib/forms.mjs'

const secret = 'a long, randomly-generated string stored in env'
const { tenant, person } = await createTown()

/** Presses the sign-in button of the library's own page, signs in, and returns the session. */
async function signIn(origin, base) {
  const visitor = new Visitor()
  const start = await visitor.open(`${origin}${base}/signin`)
  const form = start.forms.find((form) => form.action?.includes('/signin/gatehouse'))
  await visitor.answer(await visitor.submit(start, form, {}), person)
  return shown(await visitor.open(`${origin}${base}/session`))
}

test('@auth/core signs a person in', async () => {
  const created = await register(tenant, '/auth/callback/gatehouse')
  const config = {
    trustHost: true,
    secret,
    basePath: '/auth',
    providers: [{ id: 'gatehouse', name: 'Gatehouse', type: 'oidc', issuer: tenant.issuer, clientId: created.client_id, clientSecret: created.client_secret }],
  }
  const origin = await serve(async (request, response) => {
    const body = []
    for await (const chunk of request) body.push(chunk)
    const url = new URL(request.url, `http://${request.headers.host}`)
    if (!url.pathname.startsWith('/auth')) return response.end()
    const answer = await Auth(new Request(url, { method: request.method, headers: request.headers, ...(request.method === 'POST' && { body: Buffer.concat(body) }) }), config)
    const headers = Object.fromEntries(answer.headers)
    response.writeHead(answer.status, { ...headers, 'set-cookie': answer.headers.getSetCookie() })
    response.end(Buffer.from(await answer.arrayBuffer()))
  })
  const { user } = await signIn(origin, '/auth')
  assert.equal(user.name, 'Ada Lovelace')
  assert.equal(user.email, person.email)
})

test('next-auth signs a person in', async () => {
  const NextAuth = createRequire(import.meta.url)('next-auth').default
  const created = await register(tenant, '/api/auth/callback/gatehouse')
  const failures = []
  const options = {
    secret,
    logger: { error: (code, metadata) => failures.push(`${code} ${metadata?.message ?? metadata?.error?.message}`), warn() {}, debug() {} },
    providers: [{
      id: 'gatehouse',
      name: 'Gatehouse',
      type: 'oauth',
      wellKnown: tenant.issuer + '/.well-known/openid-configuration',
      authorization: { params: { scope: 'openid email profile' } },
      idToken: true,
      checks: ['pkce', 'state'],
      clientId: created.client_id,
      clientSecret: created.client_secret,
      profile: (profile) => ({ id: profile.sub, name: profile.name, email: profile.email }),
    }],
  }
  const app = express()
  app.use(express.urlencoded({ extended: true }))
  // What Next gives an API route: the query with the rest of the path, and the cookies.
  app.use('/api/auth', (request, response) => {
    const cookies = (request.headers.cookie ?? '').split('; ').filter(Boolean).map((pair) => pair.split(/=(.*)/s).slice(0, 2))
    Object.defineProperty(request, 'query', { value: { ...request.query, nextauth: request.path.split('/').filter(Boolean) } })
    request.cookies = Object.fromEntries(cookies.map(([name, value]) => [name, decodeURIComponent(value)]))
    return NextAuth(request, response, options)
  })
  app.use((_, response) => response.end())
  const origin = await serve(app)
  process.env.NEXTAUTH_URL = origin
  const { user } = await signIn(origin, '/api/auth')
  assert.deepEqual(failures, [])
  assert.equal(user.name, 'Ada Lovelace')
  assert.equal(user.email, person.email)
})
