import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { answer, api, type Schemas } from '../api/client'

export type AuditEvent = Schemas['Audit']
export const outcomes = ['success', 'refused'] as const satisfies AuditEvent['outcome'][]

export type EventsFilter = {
  action?: string
  actor?: string
  target?: string
  outcome?: AuditEvent['outcome']
  request_id?: string
  from?: string
  to?: string
  cursor?: string
  limit?: number
}

export const eventsQuery = (filter: EventsFilter) =>
  queryOptions({
    queryKey: ['audit', 'list', filter],
    queryFn: ({ signal }) => answer(api.GET('/audit-events', { params: { query: filter }, signal })),
    placeholderData: keepPreviousData,
  })

export const eventQuery = (id: string) =>
  queryOptions({
    queryKey: ['audit', id],
    queryFn: ({ signal }) => answer(api.GET('/audit-events/{id}', { params: { path: { id } }, signal })),
    // An event never changes.
    staleTime: Number.POSITIVE_INFINITY,
  })
