import { isLightColor } from '@mantine/core'
import { useTexts } from '../texts'
import classes from './SignInPreview.module.css'

/** Shows what the sign-in page of a tenant will look like. It is a picture: nothing in it works. */
export function SignInPreview({ name, accent, logo }: { name: string; accent: string; logo: string }) {
  const t = useTexts()
  const colour = /^#[0-9a-f]{6}$/.test(accent) ? accent : '#2f55d4'
  const filled = { background: colour, color: isLightColor(colour, 0.45) ? '#000' : '#fff' }
  return (
    <figure className={classes.preview} aria-hidden="true">
      <figcaption className={classes.caption}>{t.onboard.preview}</figcaption>
      <div className={classes.page}>
        <div className={classes.card}>
          {logo.startsWith('https://') ? (
            <img src={logo} alt="" className={classes.logo} referrerPolicy="no-referrer" />
          ) : (
            <div className={classes.mark} style={filled}>
              {[...name][0]?.toUpperCase()}
            </div>
          )}
          <div className={classes.heading}>{t.onboard.previewTitle(name)}</div>
          <div className={classes.label}>{t.onboard.previewUser}</div>
          <div className={classes.input} />
          <div className={classes.label}>{t.onboard.previewPassword}</div>
          <div className={classes.input} />
          <div className={classes.button} style={filled}>
            {t.onboard.previewButton}
          </div>
        </div>
      </div>
    </figure>
  )
}
