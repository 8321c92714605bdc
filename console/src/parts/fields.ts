import { useState } from 'react'
import { Problem } from '../api/client'

/** The sentences of an answer for the fields of a form, by their names. */
export function fieldErrors(error: unknown): Record<string, string> {
  if (!(error instanceof Problem)) return {}
  return Object.fromEntries(error.fields.map((field) => [field.name, field.reason]))
}

/** Whether all that an error says stands at a field of the form, so that it need not be said twice. */
export function saidAtFields(error: unknown, names: readonly string[]): boolean {
  return (
    error instanceof Problem && error.fields.length > 0 && error.fields.every((field) => names.includes(field.name))
  )
}

/**
 * What a person has changed in a form, over the values that it began with. It survives a sign-in or
 * a closed page: the browser's tab keeps it until it is saved or discarded.
 */
export function useDraft<T extends object>(name: string, began: T) {
  const key = `gatehouse.draft:${location.pathname}:${name}`
  const [changed, setChanged] = useState<Partial<T>>(() => {
    const kept = sessionStorage.getItem(key)
    return kept ? JSON.parse(kept) : {}
  })
  const [restored, setRestored] = useState(() => Object.keys(changed).length > 0)
  const keep = (next: Partial<T>) => {
    setChanged(next)
    if (Object.keys(next).length > 0) sessionStorage.setItem(key, JSON.stringify(next))
    else sessionStorage.removeItem(key)
  }
  return {
    values: { ...began, ...changed },
    changed,
    restored,
    dirty: Object.keys(changed).length > 0,
    set<K extends keyof T>(field: K, value: T[K]) {
      const next = { ...changed, [field]: value }
      if (value === began[field]) delete next[field]
      keep(next)
    },
    discard() {
      keep({})
      setRestored(false)
    },
  }
}
