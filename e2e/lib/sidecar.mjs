// gatehouse pdp-proxy beside a test, as it stands beside a service.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { gatehouse, grpc } from './environment.mjs'

/** Starts a proxy for an application of a tenant. Its addresses are known when it answers. */
export async function startSidecar(tenant, application) {
  const child = spawn(gatehouse(), ['pdp-proxy', '--url', tenant.issuer, '--grpc', grpc(), '--listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0'], {
    env: { ...process.env, GATEHOUSE_CLIENT_ID: application.client_id, GATEHOUSE_CLIENT_SECRET: application.client_secret },
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  const stop = async () => {
    if (child.exitCode !== null) return
    child.kill()
    await once(child, 'exit')
  }
  const seen = []
  for await (const line of createInterface({ input: child.stderr })) {
    seen.push(line)
    const found = /grpc=(\S+) http=(\S+)/.exec(line)
    if (found) {
      child.stderr.resume()
      return { grpc: found[1], http: `http://${found[2]}`, stop }
    }
  }
  throw new Error(`pdp-proxy did not start:\n${seen.join('\n')}`)
}
