// Applications of the tests: programs that sign people in, with the settings that their own
// documentation gives, as applications that have Gatehouse's defaults.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { after } from 'node:test'
import { createApplication, createTenant, createUser } from './management.mjs'

/** A tenant with one person. */
export async function createTown() {
  const tenant = await createTenant()
  return { tenant, person: await createUser(tenant.slug, { email_verified: true }) }
}

/**
 * An application with defaults. The redirect URI has no port: any port of a loopback address is
 * accepted.
 */
export function register(tenant, path, fields = {}) {
  return createApplication(tenant.slug, {
    name: 'Acme Portal', type: 'web', redirect_uris: [`http://127.0.0.1${path}`], post_logout_redirect_uris: ['http://127.0.0.1/', 'http://127.0.0.1'], ...fields,
  })
}

/** Serves a handler on a free port until the file's tests end, and returns its origin. */
export async function serve(handler) {
  const server = createServer(handler)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${server.address().port}`
}

const types = { '.js': 'text/javascript', '.css': 'text/css' }

/** A handler that answers with texts by path, and otherwise with files of a directory. */
export function pages(texts, directory) {
  return async (request, response) => {
    const { pathname } = new URL(request.url, 'http://x')
    const text = texts[pathname]
    try {
      const body = text ?? (await readFile(new URL('.' + pathname, directory)))
      response.writeHead(200, { 'content-type': `${types[extname(pathname)] ?? 'text/html'}; charset=utf-8` }).end(body)
    } catch {
      response.writeHead(404).end()
    }
  }
}

/** The JSON that a page shows. */
export function shown(page) {
  assert.equal(page.status, 200, `${page.url}: ${page.words.slice(0, 600)}`)
  return JSON.parse(page.html)
}
