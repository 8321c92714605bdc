import { Button, ColorSwatch, Group } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { answer, api } from '../api/client'
import { useMay } from '../api/me'
import { Confirm, type Question } from '../parts/Confirm'
import { CopyButton, Id } from '../parts/CopyButton'
import { Failure } from '../parts/Failure'
import { Moment } from '../parts/Moment'
import { PageHeader } from '../parts/PageHeader'
import { Status } from '../parts/Status'
import { languages, useTexts } from '../texts'
import { type Tenant, tenantQuery } from './queries'
import { tenantRoute } from './routes'

export function TenantPage() {
  const t = useTexts()
  const { tenant: id } = tenantRoute.useParams()
  const { data: tenant, error, refetch } = useQuery(tenantQuery(id))
  if (error) {
    return (
      <>
        <PageHeader title={t.tenants.title} />
        <Failure error={error} again={() => refetch()} />
      </>
    )
  }
  if (!tenant) return null
  const { settings } = tenant
  return (
    <>
      <PageHeader
        title={tenant.name}
        badge={<Status of={tenant.status} />}
        lead={<Id value={tenant.id} />}
        action={
          <Group gap="sm">
            <Link to="/tenants">{t.tenants.back}</Link>
            <Suspension tenant={tenant} />
          </Group>
        }
      />
      <dl className="facts">
        <dt>{t.tenants.slug}</dt>
        <dd className="mono">{tenant.slug}</dd>
        <dt>{t.tenants.issuer}</dt>
        <dd className="mono id">
          {tenant.issuer} <CopyButton value={tenant.issuer} what={t.tenants.issuer} />
        </dd>
        <dt>{t.tenants.domains}</dt>
        <dd>{tenant.domains.join(', ') || t.parts.none}</dd>
        <dt>{t.tenants.twoFactors}</dt>
        <dd>
          {settings.mfa === 'required'
            ? t.tenants.twoRequired
            : settings.signin?.second_factor?.includes('admins')
              ? t.onboard.factorAdmins
              : t.tenants.twoOptional}
        </dd>
        <dt>{t.tenants.registration}</dt>
        <dd>{settings.registration ? t.tenants.registrationOn : t.tenants.registrationOff}</dd>
        <dt>{t.tenants.language}</dt>
        <dd>{settings.locale === 'de' ? languages.de : languages.en}</dd>
        <dt>{t.tenants.accent}</dt>
        <dd>
          <Group gap="xs">
            <ColorSwatch size={16} color={settings.accent} />
            <span className="mono">{settings.accent}</span>
          </Group>
        </dd>
        <dt>{t.tenants.created}</dt>
        <dd>
          <Moment at={tenant.created_at} />
        </dd>
      </dl>
    </>
  )
}

function Suspension({ tenant }: { tenant: Tenant }) {
  const t = useTexts()
  const may = useMay()
  const queries = useQueryClient()
  const [question, ask] = useState<Question>()
  const set = async (status: 'active' | 'suspended') => {
    await answer(api.PATCH('/tenants/{id}', { params: { path: { id: tenant.id } }, body: { status } }))
    await queries.invalidateQueries({ queryKey: ['tenants'] })
  }
  // The platform cannot suspend itself.
  if (!may('tenant.suspend') || tenant.slug === 'platform' || tenant.status === 'deleting') return null
  return (
    <>
      {tenant.status === 'suspended' ? (
        <Button
          onClick={() =>
            ask({
              title: t.tenants.resumeTitle(tenant.name),
              text: t.tenants.resumeText,
              button: t.tenants.resume,
              safe: true,
              act: () => set('active'),
            })
          }
        >
          {t.tenants.resume}
        </Button>
      ) : (
        <Button
          variant="default"
          onClick={() =>
            ask({
              title: t.tenants.suspendTitle(tenant.name),
              text: t.tenants.suspendText,
              button: t.tenants.suspendConfirm,
              typed: tenant.slug,
              act: () => set('suspended'),
            })
          }
        >
          {t.tenants.suspend}
        </Button>
      )}
      <Confirm question={question} close={() => ask(undefined)} />
    </>
  )
}
