import { linkOptions } from '@tanstack/react-router'
import { useMe } from '../api/me'
import { AuditIcon, TenantsIcon, UsersIcon } from '../parts/icons'

// The navigation: a section is a job, and a page is offered to those who may do its action.
const sections = [
  {
    name: 'people',
    pages: [{ name: 'users', link: linkOptions({ to: '/users' }), action: 'user.read', icon: UsersIcon }],
  },
  {
    name: 'watch',
    pages: [{ name: 'audit', link: linkOptions({ to: '/audit' }), action: 'audit.read', icon: AuditIcon }],
  },
  {
    name: 'platform',
    pages: [
      { name: 'tenants', link: linkOptions({ to: '/tenants' }), action: 'tenant.read', icon: TenantsIcon },
      // A page of a page: it is found, and not listed.
      { name: 'onboard', link: linkOptions({ to: '/tenants/new' }), action: 'tenant.create', icon: undefined },
    ],
  },
] as const

/** The sections that the person may see, each with at least one page. */
export function useSections() {
  const me = useMe()
  return sections
    .filter((section) => section.name !== 'platform' || me.tenant.slug === 'platform')
    .map((section) => ({
      name: section.name,
      pages: section.pages.filter((page) => me.actions.includes(page.action)),
    }))
    .filter((section) => section.pages.length > 0)
}
