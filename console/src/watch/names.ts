import type { Schemas } from '../api/client'
import type { Texts } from '../texts'

/** What people call the one that acted. */
export function actorName(t: Texts, actor: Schemas['AuditActor']): string {
  if (actor.kind === 'anonymous') return t.audit.anonymous
  if (actor.kind === 'system') return t.audit.system
  return actor.name || actor.id || actor.kind
}

/** What people call the thing that an event is about. */
export function targetName(target: Schemas['AuditTarget']): string {
  return target.name || target.id || target.kind || ''
}
