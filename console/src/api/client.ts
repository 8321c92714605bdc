import createClient from 'openapi-fetch'
import type { components, paths } from './schema'

export type Schemas = components['schemas']
export type FieldError = Schemas['FieldError']

/** Path of the console, such as /t/acme/console, from the page's base element. */
export const consolePath = new URL(document.baseURI).pathname.replace(/\/$/, '')

/** Path of the tenant's base, such as /t/acme, and empty on a domain of its own. */
export const tenantPath = consolePath.replace(/\/console$/, '')

/** An answer of the API that is not a success, with the sentence for the person who reads it. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly requestId?: string,
    readonly fields: FieldError[] = [],
  ) {
    super(detail)
  }
}

// Many calls may learn at once that the session has ended. The first of them leaves the page.
let leaving = false

function signInAgain(): void {
  if (leaving) return
  leaving = true
  const here = (location.pathname + location.search).slice(consolePath.length)
  location.assign(`${consolePath}/signin?${new URLSearchParams({ return: here })}`)
}

/** The management API. The browser sends the console's cookie: no token is known here. */
export const api = createClient<paths>({
  baseUrl: `${tenantPath}/api/v1`,
  credentials: 'same-origin',
  headers: { Accept: 'application/json' },
})

api.use({
  async onResponse({ response }) {
    if (response.ok) return undefined
    if (response.status === 401) {
      signInAgain()
      // The page is about to go, so whatever waits for the answer keeps waiting.
      return new Promise<undefined>(() => {})
    }
    const said: Partial<Schemas['Problem']> = await response.json().catch(() => ({}))
    throw new Problem(
      response.status,
      said.code ?? 'unknown',
      said.detail ?? response.statusText,
      said.request_id ?? response.headers.get('X-Request-Id') ?? undefined,
      said.errors,
    )
  },
})

/** The body of a successful answer. It throws a Problem, or a TypeError if no answer came. */
export async function answer<T>(call: Promise<{ data?: T; response: Response }>): Promise<T> {
  const { data } = await call
  return data as T
}
