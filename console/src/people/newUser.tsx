import { Button, Group, MultiSelect, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { answer, api } from '../api/client'
import { useMay } from '../api/me'
import { Failure } from '../parts/Failure'
import { Form } from '../parts/Form'
import { fieldErrors, saidAtFields, useDraft } from '../parts/fields'
import { PageHeader } from '../parts/PageHeader'
import { useTexts } from '../texts'
import { rolesQuery } from './queries'

const empty = { given_name: '', family_name: '', email: '', username: '' }
const shown = [...Object.keys(empty), 'password', 'roles']

export function NewUser() {
  const t = useTexts()
  const may = useMay()
  const navigate = useNavigate()
  const queries = useQueryClient()
  const draft = useDraft('user', empty)
  // A draft is kept in the browser. Passwords and rights are not.
  const [password, setPassword] = useState('')
  const [roles, setRoles] = useState<string[]>([])
  const known = useQuery({ ...rolesQuery, enabled: may('role.read') && may('role.grant') })
  const add = useMutation({
    mutationFn: () =>
      answer(
        api.POST('/users', {
          body: {
            ...draft.changed,
            ...(password && { password }),
            ...(roles.length > 0 && { roles }),
          },
        }),
      ),
    onSuccess: async (user) => {
      draft.discard()
      await queries.invalidateQueries({ queryKey: ['users'] })
      await navigate({ to: '/users/$user', params: { user: user.id } })
    },
  })
  const wrong = fieldErrors(add.error)
  const input = (field: keyof typeof empty) => ({
    value: draft.values[field],
    error: wrong[field],
    onChange: (event: { currentTarget: { value: string } }) => draft.set(field, event.currentTarget.value),
  })
  return (
    <>
      <PageHeader title={t.newUser.title} lead={t.newUser.lead} />
      <Form send={() => add.mutate()}>
        <Group grow align="flex-start">
          <TextInput label={t.user.givenName} {...input('given_name')} data-autofocus />
          <TextInput label={t.user.familyName} {...input('family_name')} />
        </Group>
        <TextInput label={t.user.email} type="email" autoComplete="off" {...input('email')} />
        <TextInput label={t.user.username} autoComplete="off" {...input('username')} />
        <PasswordInput
          label={t.newUser.password}
          description={t.newUser.passwordHint}
          autoComplete="new-password"
          value={password}
          error={wrong.password}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        {known.data && (
          <MultiSelect
            label={t.newUser.roles}
            description={t.newUser.rolesHint}
            data={known.data.items.map((role) => role.name)}
            value={roles}
            error={wrong.roles}
            onChange={setRoles}
            searchable
          />
        )}
        {add.error && !saidAtFields(add.error, shown) && <Failure error={add.error} />}
        <Group>
          <Button type="submit" loading={add.isPending}>
            {t.newUser.submit}
          </Button>
          <Button variant="default" component={Link} to="/users" onClick={draft.discard}>
            {t.parts.cancel}
          </Button>
        </Group>
      </Form>
    </>
  )
}
