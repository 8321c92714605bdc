import { Button, ColorInput, Fieldset, Group, Select, Stack, Switch, TextInput } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { answer, api, type Schemas, tenantPath } from '../api/client'
import { Failure } from '../parts/Failure'
import { Form } from '../parts/Form'
import { fieldErrors, saidAtFields, useDraft } from '../parts/fields'
import { PageHeader } from '../parts/PageHeader'
import { type Language, languages, useTexts } from '../texts'
import { SignInPreview } from './SignInPreview'

type Factor = 'optional' | 'admins' | 'required'

const empty = {
  name: '',
  slug: '',
  factor: 'admins' as Factor,
  registration: false,
  accent: '#2f55d4',
  logo: '',
  locale: 'en' as Language,
}
const shown = ['name', 'slug', 'settings.accent', 'settings.logo_url']

/** Proposes an address for a name: what a slug may have, and nothing else. */
function slugOf(name: string): string {
  return name
    .toLowerCase()
    .replace(/ß/g, 'ss')
    .normalize('NFKD')
    .replace(/[̀-ͯ]/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63)
}

export function Onboard() {
  const t = useTexts()
  const navigate = useNavigate()
  const queries = useQueryClient()
  const draft = useDraft('tenant', empty)
  const { values } = draft
  const slug = draft.changed.slug ?? slugOf(values.name)
  const settings: Schemas['SettingsPatch'] = {
    accent: values.accent,
    locale: values.locale,
    registration: values.registration,
    ...(values.factor === 'required' && { mfa: 'required' }),
    ...(values.factor === 'admins' && { signin: { second_factor: ['admins'] } }),
    ...(values.logo && { logo_url: values.logo }),
  }
  const create = useMutation({
    mutationFn: () => answer(api.POST('/tenants', { body: { name: values.name, slug, settings } })),
    onSuccess: async (tenant) => {
      draft.discard()
      await queries.invalidateQueries({ queryKey: ['tenants'] })
      await navigate({ to: '/tenants/$tenant', params: { tenant: tenant.id } })
    },
  })
  const wrong = fieldErrors(create.error)
  const issuer = location.origin + tenantPath.replace(/[^/]*$/, slug || '…')
  return (
    <>
      <PageHeader title={t.onboard.title} lead={t.onboard.lead} />
      <div className="beside">
        <Form send={() => create.mutate()}>
          <Fieldset legend={t.onboard.about}>
            <Stack>
              <TextInput
                label={t.onboard.name}
                description={t.onboard.nameHint}
                value={values.name}
                error={wrong.name}
                onChange={(event) => draft.set('name', event.currentTarget.value)}
                data-autofocus
              />
              <TextInput
                label={t.onboard.slug}
                description={t.onboard.slugHint(issuer)}
                value={slug}
                error={wrong.slug}
                maxLength={63}
                onChange={(event) => draft.set('slug', event.currentTarget.value)}
              />
            </Stack>
          </Fieldset>
          <Fieldset legend={t.onboard.signIn}>
            <Stack>
              <Select
                label={t.onboard.factor}
                allowDeselect={false}
                data={[
                  { value: 'admins', label: t.onboard.factorAdmins },
                  { value: 'required', label: t.onboard.factorAll },
                  { value: 'optional', label: t.onboard.factorOptional },
                ]}
                value={values.factor}
                onChange={(value) => draft.set('factor', (value ?? 'admins') as Factor)}
              />
              <Switch
                label={t.onboard.registration}
                checked={values.registration}
                onChange={(event) => draft.set('registration', event.currentTarget.checked)}
              />
            </Stack>
          </Fieldset>
          <Fieldset legend={t.onboard.look}>
            <Stack>
              <ColorInput
                label={t.onboard.accent}
                value={values.accent}
                error={wrong['settings.accent']}
                onChange={(value) => draft.set('accent', value.toLowerCase())}
                eyeDropperButtonProps={{ 'aria-label': t.onboard.accent }}
              />
              <TextInput
                label={t.onboard.logo}
                description={t.onboard.logoHint}
                type="url"
                value={values.logo}
                error={wrong['settings.logo_url']}
                onChange={(event) => draft.set('logo', event.currentTarget.value)}
              />
              <Select
                label={t.onboard.language}
                allowDeselect={false}
                data={Object.entries(languages).map(([value, label]) => ({ value, label }))}
                value={values.locale}
                onChange={(value) => draft.set('locale', value === 'de' ? 'de' : 'en')}
              />
            </Stack>
          </Fieldset>
          {create.error && !saidAtFields(create.error, shown) && <Failure error={create.error} />}
          <Group>
            <Button type="submit" loading={create.isPending}>
              {t.onboard.submit}
            </Button>
            <Button variant="default" component={Link} to="/tenants" onClick={draft.discard}>
              {t.parts.cancel}
            </Button>
          </Group>
        </Form>
        <SignInPreview name={values.name || t.onboard.previewName} accent={values.accent} logo={values.logo} />
      </div>
    </>
  )
}
