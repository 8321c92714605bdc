// A browser without a browser: fetch, cookies, and the plain HTML forms of the hosted pages. It can
// only do what a browser with JavaScript switched off can do, so it also shows that the pages need
// none.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { server } from './environment.mjs'
import { totp } from './totp.mjs'

/** Cookies by name, host and path, as RFC 6265 stores them. */
class Jar {
  #cookies = new Map()

  store(url, headers) {
    for (const line of headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(';').map((part) => part.trim())
      const at = pair.indexOf('=')
      const name = pair.slice(0, at)
      const attribute = (key) => attributes.find((a) => a.toLowerCase().startsWith(key + '='))?.slice(key.length + 1)
      const path = attribute('path') ?? '/'
      const key = `${name};${url.host};${path}`
      if (Number(attribute('max-age') ?? 1) <= 0) this.#cookies.delete(key)
      else this.#cookies.set(key, { name, value: pair.slice(at + 1), host: url.host, path })
    }
  }

  header(url) {
    const matches = (c) => c.host === url.host && (url.pathname === c.path || url.pathname.startsWith(c.path.endsWith('/') ? c.path : c.path + '/'))
    return [...this.#cookies.values()].filter(matches).map((c) => `${c.name}=${c.value}`).join('; ')
  }
}

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', '#34': '"', '#39': "'", '#43': '+', '#x2b': '+' }
const decode = (text) => text.replace(/&(#?\w+);/g, (all, name) => entities[name.toLowerCase()] ?? all)

function attributesOf(tag) {
  const found = {}
  for (const [, name, double, single, bare] of tag.matchAll(/([a-zA-Z-]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) {
    found[name.toLowerCase()] = decode(double ?? single ?? bare ?? '')
  }
  return found
}

/** One page: its address, status, HTML, and the forms in it. */
class Page {
  constructor(url, status, html) {
    Object.assign(this, { url, status, html })
    this.forms = [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/g)].map(([, head, body]) => {
      const inputs = [...body.matchAll(/<input\b([^>]*)>/g)].map(([, a]) => attributesOf(a))
      const buttons = [...body.matchAll(/<button\b([^>]*)>/g)].map(([, a]) => attributesOf(a))
      return { ...attributesOf(head), inputs, buttons }
    })
  }

  /** The text of the element with this id. */
  text(id) {
    const found = this.html.match(new RegExp(`<([a-z0-9]+)[^>]*\\bid="?${id}\\b"?[^>]*>([\\s\\S]*?)</\\1>`))
    return found && decode(found[2].replace(/<[^>]+>/g, '')).trim()
  }

  /** Where the link with this id leads. */
  link(id) {
    const tag = [...this.html.matchAll(/<a\b([^>]*)>/g)].map(([, a]) => attributesOf(a)).find((a) => a.id === id)
    assert.ok(tag, `no link #${id} on ${this.url.pathname}`)
    return tag.href
  }

  formWith(name) {
    return this.forms.find((form) => form.inputs.some((input) => input.name === name && input.type !== 'hidden'))
  }

  formWithButton(id) {
    return this.forms.find((form) => form.buttons.some((button) => button.id === id))
  }

  get words() {
    return decode(this.html.replace(/<style[\s\S]*?<\/style>/g, '').replace(/<[^>]+>/g, ' ')).replace(/\s+/g, ' ').trim()
  }
}

/** Someone at a browser. */
export class Visitor {
  #jar = new Jar()
  totpSecret
  #usedCodes = new Set()

  /** Follows redirects until a page, or until an address that starts with stopAt, which is returned as a URL. */
  async open(address, { stopAt, method = 'GET', body } = {}) {
    let url = new URL(address)
    for (let hop = 0; hop < 15; hop++) {
      if (stopAt && url.href.startsWith(stopAt)) return url
      const response = await fetch(url, {
        method,
        body,
        redirect: 'manual',
        headers: { cookie: this.#jar.header(url), accept: 'text/html', ...(method === 'POST' && { origin: url.origin }) },
      })
      this.#jar.store(url, response.headers)
      const location = response.headers.get('location')
      if (!location) return new Page(url, response.status, await response.text())
      await response.body?.cancel()
      url = new URL(location, url)
      // 303 and a 302 after POST are followed with GET, as browsers do.
      method = 'GET'
      body = undefined
    }
    throw new Error(`too many redirects, the last to ${url}`)
  }

  /** Fills a form in and sends it, with the button of that id when one is named. */
  submit(page, form, fields, { button, stopAt } = {}) {
    const data = new URLSearchParams()
    for (const input of form.inputs) {
      if (input.name && ['hidden'].includes(input.type)) data.set(input.name, input.value ?? '')
      if (input.name && ['checkbox', 'radio'].includes(input.type) && 'checked' in input) data.set(input.name, input.value ?? 'on')
    }
    const pressed = form.buttons.find((b) => (button ? b.id === button : b.type === 'submit'))
    if (pressed?.name) data.set(pressed.name, pressed.value ?? '')
    for (const [name, value] of Object.entries(fields)) data.set(name, value)
    const action = new URL(pressed?.formaction || form.action || page.url.href, page.url)
    return this.open(action, { stopAt, method: (form.method ?? 'get').toUpperCase(), body: data })
  }

  /** A one-time code not used before, waiting for the next 30 s step when this one's is spent. */
  async code() {
    for (;;) {
      const code = totp(this.totpSecret)
      if (!this.#usedCodes.has(code)) {
        this.#usedCodes.add(code)
        return code
      }
      await sleep(1000)
    }
  }

  /**
   * Goes through the hosted pages, giving what each asks for, until the answer arrives at the redirect URI.
   * Returns that address and the names of the pages that were seen.
   */
  async signIn(authorizationURL, redirectURI, { username, password, consent = 'allow' }) {
    const seen = []
    let page = await this.open(authorizationURL, { stopAt: redirectURI })
    for (let step = 0; step < 12 && page instanceof Page; step++) {
      const next = this.#answer(page, { username, password, consent })
      assert.ok(next, `nothing to do on ${page.url.pathname} (${page.status}): ${page.words.slice(0, 600)}`)
      seen.push(next.name)
      if (next.link) {
        page = await this.open(new URL(next.link, page.url), { stopAt: redirectURI })
        continue
      }
      assert.ok(seen.filter((name) => name === next.name).length < 3, `asked again and again for ${next.name}: ${page.words.slice(0, 600)}`)
      page = await this.submit(page, next.form, await next.fields(), { button: next.button, stopAt: redirectURI })
    }
    assert.ok(page instanceof URL, 'the sign-in did not come back to the application')
    return { url: page, seen }
  }

  /**
   * Opens an application's address, answers the hosted pages on the way, and returns the page of the
   * application that the browser ends at.
   */
  async reach(address, person) {
    return this.answer(await this.open(address), person)
  }

  /** Goes on from a page until one that is not the server's. */
  async answer(page, { email, password }) {
    for (let step = 0; step < 8 && page.url.origin === server; step++) {
      const next = this.#answer(page, { username: email, password, consent: 'allow' })
      assert.ok(next, `nothing to do on ${page.url.pathname} (${page.status}): ${page.words.slice(0, 600)}`)
      page = await this.submit(page, next.form, await next.fields(), { button: next.button })
    }
    assert.notEqual(page.url.origin, server, `the sign-in ended at ${page.url.pathname}: ${page.words.slice(0, 600)}`)
    return page
  }

  /**
   * Opens the address that a device shows, confirms its code, and answers the pages that follow. Returns the last
   * page and the names of those before.
   */
  async answerDevice(address, { email, password }, consent = 'allow') {
    const seen = []
    let page = await this.open(address)
    while (!page.text('done')) {
      const next = this.#answer(page, { username: email, password, consent })
      assert.ok(next && seen.length < 8, `nothing to do on ${page.url.pathname} (${page.status}): ${page.words.slice(0, 600)}`)
      seen.push(next.name)
      page = await this.submit(page, next.form, await next.fields(), { button: next.button })
    }
    return { page, seen }
  }

  #answer(page, { username, password, consent }) {
    const button = page.formWithButton(consent)
    if (button) return { name: 'consent', form: button, button: consent, fields: () => ({}) }
    const code = page.formWith('code')
    if (code) {
      const shown = page.text('totp-secret')
      if (shown) this.totpSecret = shown
      return { name: shown ? 'enrolment' : 'code', form: code, fields: async () => ({ code: await this.code() }) }
    }
    const passwordForm = page.formWith('password')
    if (passwordForm) {
      const both = passwordForm.inputs.some((input) => input.name === 'username')
      return { name: 'password', form: passwordForm, fields: () => (both ? { username, password } : { password }) }
    }
    const device = page.formWith('user_code')
    if (device) {
      const { value } = device.inputs.find((input) => input.name === 'user_code')
      return { name: 'user code', form: device, fields: () => ({ user_code: value }) }
    }
    const name = page.formWith('username')
    if (name) return { name: 'username', form: name, fields: () => ({ username }) }
    // A page that only tells: the recovery codes, and a link that goes on.
    if (page.text('recovery-codes')) return { name: 'recovery codes', link: page.link('continue') }
  }
}
