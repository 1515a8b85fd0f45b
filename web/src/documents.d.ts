// Made from `proto/src/docs` by `SESSD_GOLDEN=write cargo test -p sessd-proto --test typescript`. Do not edit.

export type State = 'init' | 'running' | 'disconnected' | 'done' | (string & {});
export type LinkState = 'local' | 'up' | 'stalled' | 'connecting' | 'down' | 'needs-login' | (string & {});
export type Reason = 'exited' | 'signaled' | 'deleted' | 'reaped' | 'lost' | 'failed' | (string & {});
export type Reap = 'idle' | 'unattended' | (string & {});
export type SizePolicy = 'latest' | 'largest' | 'smallest' | 'fixed' | (string & {});

export interface EndDoc {
  reason: Reason;
  code: number | null;
  signal: number | null;
  at: string;
  detail: string | null;
}

export interface ViewDoc {
  id: string;
  kind: string;
  read_only: boolean;
  attached_at: string;
  leads: boolean;
  sizes: boolean;
  size: SizeDoc | null;
  from: string | null;
}

export interface SizeDoc {
  cols: number;
  rows: number;
}

export interface ActivityDoc {
  state: string;
  source: string;
  since: string;
  note: string | null;
}

export interface SessionDoc {
  id: string;
  name: string | null;
  host: string;
  state: State;
  end: EndDoc | null;
  tags: Record<string, string>;
  command: string[];
  cwd: string | null;
  foreground: string | null;
  title: string | null;
  size: SizeDoc | null;
  views: ViewDoc[];
  leader: string | null;
  created_at: string;
  last_active_at: string | null;
  idle_seconds: number | null;
  idle_timeout_seconds: number | null;
  reap_at: string | null;
  activity: ActivityDoc | null;
  link: LinkState;
  job_id: string;
  agent_version: string | null;
  delete_requested: boolean;
  holder_silent_seconds: number | null;
}

export interface InfoDoc extends SessionDoc, MoreDoc {
}

export interface MoreDoc {
  env: Record<string, string>;
  reap: Reap;
  job_pid: number | null;
  output_bytes: number | null;
  link_detail: string | null;
  next_try_at: string | null;
  notes: string[];
  held_by: string[];
  queued: number | null;
  size_policy: SizePolicy | null;
  forwards: ForwardDoc[];
}

export interface ForwardDoc {
  number: number | null;
  kind: string;
  spec: string;
  state: string;
  port: number | null;
  detail: string | null;
}

export interface StatusDoc {
  pid: number;
  version: string;
  since: string;
  sessions: number;
  links: LinkDoc[];
  panics: number;
  config: string | null;
  database: string | null;
  log: string | null;
  socket: string | null;
  program: string | null;
  program_replaced: boolean;
  config_errors: string[];
}

export interface LinkDoc {
  host: string;
  link: LinkState;
  rtt_ms: number | null;
  next_try_at: string | null;
  detail: string | null;
  heard_at: string | null;
  bytes_in: number | null;
  bytes_out: number | null;
  retries: number | null;
}

export interface HostDoc {
  detail: string | null;
  done: number;
  heard_at: string | null;
  host: string;
  link: LinkState;
  next_try_at: string | null;
  rtt_ms: number | null;
  sessions: number;
}
