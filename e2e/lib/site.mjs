// Programs that are sites, and print their origin when they are ready.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { register, shown } from './application.mjs'
import { Visitor } from './forms.mjs'

const directory = fileURLToPath(new URL('../python/', import.meta.url))

/** The command of a program in e2e/python, for the interpreter that has its packages. */
export const python = (file, ...args) => [directory + 'venv/bin/python', '-B', directory + file, ...args]

/** Starts a program, which ends with the file's tests. log() is the end of what it wrote. */
export function start([program, ...args], fields) {
  const site = spawn(program, args, { env: { ...process.env, ...fields }, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [site.stdout, site.stderr]) stream.on('data', (more) => { text = (text + more).slice(-6000) })
  after(() => site.kill())
  return { site, log: () => text }
}

/** Starts a site for an application of a tenant. It is ready, at origin, and log() ends what it wrote. */
export async function startSite(command, tenant, { client_id, client_secret }) {
  const { site, log } = start(command, { ISSUER: tenant.issuer, CLIENT_ID: client_id, CLIENT_SECRET: client_secret ?? '' })
  const [origin] = await Promise.race([once(createInterface(site.stdout), 'line'), once(site, 'exit').then(() => [])])
  assert.ok(origin, `${command.join(' ')} ended:\n${log()}`)
  return { origin, log }
}

/**
 * Starts a site for an application with defaults, or with these fields, signs a person in at its /login
 * or where else it begins, and returns the JSON that the person sees there in the end.
 */
export async function signInAt(command, { tenant, person, login = '/login', callback = '/callback', fields = {} }) {
  const { origin, log } = await startSite(command, tenant, await register(tenant, callback, fields))
  const page = await new Visitor().reach(origin + login, person)
  assert.equal(page.status, 200, `${page.url}: ${page.words.slice(0, 600)}\n${log()}`)
  return shown(page)
}
