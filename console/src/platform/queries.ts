import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { answer, api, type Schemas } from '../api/client'

export type Tenant = Schemas['Tenant']
export type TenantsFilter = { cursor?: string }

export const tenantsQuery = (filter: TenantsFilter) =>
  queryOptions({
    queryKey: ['tenants', 'list', filter],
    queryFn: ({ signal }) => answer(api.GET('/tenants', { params: { query: filter }, signal })),
    placeholderData: keepPreviousData,
  })

export const tenantQuery = (id: string) =>
  queryOptions({
    queryKey: ['tenants', id],
    queryFn: ({ signal }) => answer(api.GET('/tenants/{id}', { params: { path: { id } }, signal })),
  })
