import type { ReactNode } from 'react'

// Drawings of 24 × 24, in the colour of the text beside them. They say nothing that a text does not.
function Drawing({ children }: { children: ReactNode }) {
  return (
    <svg
      width="18"
      height="18"
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.75"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  )
}

export const UsersIcon = () => (
  <Drawing>
    <circle cx="9" cy="8" r="3.5" />
    <path d="M2.5 20c.6-3.6 3-5.5 6.5-5.5s5.9 1.9 6.5 5.5M16 4.8a3.5 3.5 0 0 1 0 6.4M17.5 14.8c2.3.6 3.6 2.3 4 5.2" />
  </Drawing>
)
export const AuditIcon = () => (
  <Drawing>
    <rect x="4" y="3.5" width="16" height="17" rx="2.5" />
    <path d="M8 8.5h8M8 12.5h8M8 16.5h4.5" />
  </Drawing>
)
export const TenantsIcon = () => (
  <Drawing>
    <path d="M4 20.5V5.5l8-2.5v17.5M12 9l8 2v9.5M2.5 20.5h19M7.5 9h1M7.5 13h1M15.5 14.5h1" />
  </Drawing>
)
export const SearchIcon = () => (
  <Drawing>
    <circle cx="11" cy="11" r="6.5" />
    <path d="m16 16 4.5 4.5" />
  </Drawing>
)
export const CopyIcon = () => (
  <Drawing>
    <rect x="8.5" y="8.5" width="12" height="12" rx="2.5" />
    <path d="M15.5 8.5V6A2.5 2.5 0 0 0 13 3.5H6A2.5 2.5 0 0 0 3.5 6v7A2.5 2.5 0 0 0 6 15.5h2.5" />
  </Drawing>
)
export const CheckIcon = () => (
  <Drawing>
    <path d="m5 12.5 4.5 4.5L19 7.5" />
  </Drawing>
)
export const MenuIcon = () => (
  <Drawing>
    <path d="M4 7h16M4 12h16M4 17h16" />
  </Drawing>
)
export const PersonIcon = () => (
  <Drawing>
    <circle cx="12" cy="8" r="3.8" />
    <path d="M4.5 20.5c.8-4 3.5-6 7.5-6s6.7 2 7.5 6" />
  </Drawing>
)
export const WarningIcon = () => (
  <Drawing>
    <path d="M12 3.5 2.5 20h19L12 3.5ZM12 10v4.5M12 17.2v.1" />
  </Drawing>
)
export const ForwardIcon = () => (
  <Drawing>
    <path d="m9.5 5.5 6.5 6.5-6.5 6.5" />
  </Drawing>
)
export const BackIcon = () => (
  <Drawing>
    <path d="M14.5 5.5 8 12l6.5 6.5" />
  </Drawing>
)
