import { useTexts } from '../texts'
import { Mark } from './Mark'

const colours = {
  active: 'green',
  invited: 'blue',
  locked: 'orange',
  deactivated: 'gray',
  suspended: 'orange',
  deleting: 'red',
} as const

/** The status of a user or tenant. */
export function Status({ of }: { of: keyof typeof colours }) {
  const t = useTexts()
  return <Mark colour={colours[of]}>{t.status[of]}</Mark>
}
