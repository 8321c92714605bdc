import { Button, Table } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useMay } from '../api/me'
import { Empty } from '../parts/Empty'
import { Failure } from '../parts/Failure'
import { Moment } from '../parts/Moment'
import { PageHeader } from '../parts/PageHeader'
import { Pages } from '../parts/Pages'
import { Rows } from '../parts/Rows'
import { Status } from '../parts/Status'
import { useTexts } from '../texts'
import { tenantsQuery } from './queries'
import { tenantsRoute } from './routes'

export function Tenants() {
  const t = useTexts()
  const may = useMay()
  const filter = tenantsRoute.useSearch()
  const navigate = tenantsRoute.useNavigate()
  const tenants = useQuery(tenantsQuery(filter))
  const onboard = may('tenant.create') && (
    <Button component={Link} to="/tenants/new">
      {t.tenants.onboard}
    </Button>
  )
  return (
    <>
      <PageHeader title={t.tenants.title} lead={t.tenants.lead} action={onboard} />
      {tenants.error ? (
        <Failure error={tenants.error} again={() => tenants.refetch()} />
      ) : tenants.data?.items.length === 0 ? (
        <Empty title={t.tenants.emptyTitle} hint={t.tenants.emptyHint}>
          {onboard}
        </Empty>
      ) : (
        <Rows label={t.tenants.title} loading={!tenants.data} stale={tenants.isPlaceholderData}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t.tenants.name}</Table.Th>
              <Table.Th className="wide">{t.tenants.slug}</Table.Th>
              <Table.Th>{t.tenants.status}</Table.Th>
              <Table.Th className="wide">{t.tenants.created}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {tenants.data?.items.map((tenant) => (
              <Table.Tr key={tenant.id}>
                <Table.Td>
                  <Link to="/tenants/$tenant" params={{ tenant: tenant.id }} className="row">
                    {tenant.name}
                  </Link>
                </Table.Td>
                <Table.Td className="wide mono">{tenant.slug}</Table.Td>
                <Table.Td>
                  <Status of={tenant.status} />
                </Table.Td>
                <Table.Td className="wide">
                  <Moment at={tenant.created_at} />
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Rows>
      )}
      <Pages
        cursor={filter.cursor}
        next={tenants.data?.next_cursor}
        go={(cursor) => navigate({ search: { cursor } })}
      />
    </>
  )
}
