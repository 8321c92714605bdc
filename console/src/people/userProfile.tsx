import { Alert, Button, Group, Text, TextInput } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { answer, api, Problem } from '../api/client'
import { useMay } from '../api/me'
import { Failure } from '../parts/Failure'
import { Form } from '../parts/Form'
import { fieldErrors, saidAtFields, useDraft } from '../parts/fields'
import { Moment } from '../parts/Moment'
import { useTexts } from '../texts'
import { type User, userQuery } from './queries'

const fields = ['given_name', 'family_name', 'email', 'username', 'locale'] as const

/** Shows and changes what is known about a person. tag is the state that the change is about. */
export function Profile({ user, tag }: { user: User; tag: string | undefined }) {
  const t = useTexts()
  const readOnly = !useMay()('user.update')
  const queries = useQueryClient()
  const began = {
    given_name: user.given_name ?? '',
    family_name: user.family_name ?? '',
    email: user.email ?? '',
    username: user.username ?? '',
    locale: user.locale ?? '',
  }
  const draft = useDraft('profile', began)
  const save = useMutation({
    mutationFn: () =>
      answer(
        api.PATCH('/users/{id}', {
          params: { path: { id: user.id }, header: { 'If-Match': tag } },
          body: Object.fromEntries(Object.entries(draft.changed).map(([field, value]) => [field, value || null])),
        }),
      ),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ['users'] })
      await queries.refetchQueries(userQuery(user.id))
      draft.discard()
    },
  })
  const wrong = fieldErrors(save.error)
  const input = (field: (typeof fields)[number]) => ({
    value: draft.values[field],
    error: wrong[field],
    readOnly,
    autoComplete: 'off',
    onChange: (event: { currentTarget: { value: string } }) => draft.set(field, event.currentTarget.value),
  })
  const stale = save.error instanceof Problem && save.error.status === 412
  return (
    <Form send={() => save.mutate()}>
      {draft.restored && draft.dirty && (
        <Alert variant="outline" role="status">
          {t.parts.restored}
        </Alert>
      )}
      <Group grow align="flex-start">
        <TextInput label={t.user.givenName} {...input('given_name')} />
        <TextInput label={t.user.familyName} {...input('family_name')} />
      </Group>
      <TextInput
        label={t.user.email}
        type="email"
        description={user.email && (user.email_verified ? t.user.emailVerified : t.user.emailUnverified)}
        {...input('email')}
      />
      <TextInput label={t.user.username} {...input('username')} />
      <TextInput label={t.user.locale} description={t.user.localeHint} {...input('locale')} />
      {stale && (
        <Alert color="red" variant="outline" role="alert">
          {t.user.conflict}
        </Alert>
      )}
      {save.error && !stale && !saidAtFields(save.error, fields) && <Failure error={save.error} />}
      {!readOnly && (
        <Group>
          <Button type="submit" loading={save.isPending} disabled={!draft.dirty}>
            {t.parts.save}
          </Button>
          {draft.dirty && (
            <Button variant="default" onClick={draft.discard}>
              {t.parts.discard}
            </Button>
          )}
          <Text size="sm" c="dimmed" role="status">
            {save.isSuccess && !draft.dirty && t.parts.saved}
          </Text>
        </Group>
      )}
      <dl className="facts">
        <dt>{t.user.created}</dt>
        <dd>
          <Moment at={user.created_at} />
        </dd>
        <dt>{t.user.updated}</dt>
        <dd>
          <Moment at={user.updated_at} />
        </dd>
        <dt>{t.user.lastSignIn}</dt>
        <dd>
          <Moment at={user.last_sign_in} otherwise={t.parts.never} />
        </dd>
      </dl>
    </Form>
  )
}
