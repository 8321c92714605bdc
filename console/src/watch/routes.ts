import { createRoute, lazyRouteComponent } from '@tanstack/react-router'
import { queryClient } from '../api/queries'
import { rootRoute } from '../shell/root'
import { type EventsFilter, eventQuery, eventsQuery, outcomes } from './queries'

export const eventsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/audit',
  validateSearch: (search: Record<string, string>): EventsFilter => ({
    action: search.action || undefined,
    actor: search.actor || undefined,
    target: search.target || undefined,
    outcome: outcomes.find((it) => it === search.outcome),
    request_id: search.request_id || undefined,
    from: search.from || undefined,
    to: search.to || undefined,
    cursor: search.cursor || undefined,
  }),
  loaderDeps: ({ search }) => search,
  // The page shows the failure itself.
  loader: ({ deps }) => queryClient.prefetchQuery(eventsQuery(deps)),
  component: lazyRouteComponent(() => import('./events'), 'Events'),
})

export const eventRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/audit/$event',
  loader: ({ params }) => queryClient.prefetchQuery(eventQuery(params.event)),
  component: lazyRouteComponent(() => import('./event'), 'Event'),
})
