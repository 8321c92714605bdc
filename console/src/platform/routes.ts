import { createRoute, lazyRouteComponent } from '@tanstack/react-router'
import { queryClient } from '../api/queries'
import { rootRoute } from '../shell/root'
import { type TenantsFilter, tenantQuery, tenantsQuery } from './queries'

export const tenantsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/tenants',
  validateSearch: (search: Record<string, string>): TenantsFilter => ({ cursor: search.cursor || undefined }),
  loaderDeps: ({ search }) => search,
  // The page shows the failure itself.
  loader: ({ deps }) => queryClient.prefetchQuery(tenantsQuery(deps)),
  component: lazyRouteComponent(() => import('./tenants'), 'Tenants'),
})

export const onboardRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/tenants/new',
  component: lazyRouteComponent(() => import('./onboard'), 'Onboard'),
})

export const tenantRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/tenants/$tenant',
  loader: ({ params }) => queryClient.prefetchQuery(tenantQuery(params.tenant)),
  component: lazyRouteComponent(() => import('./tenant'), 'TenantPage'),
})
