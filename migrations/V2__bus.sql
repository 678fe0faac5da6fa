-- The bus: what came in (journal), what has to be done (tasks), who is awake (the bell), and what went wrong (dead,
-- parked). Internal: nothing here is exposed to clients. The functions that work on it are in sql/bus/.

create schema bus;
comment on schema bus is 'Journal, tasks and bell. Internal.';
create schema secrets;
comment on schema secrets is 'Stored credentials and key hashes. Internal; nobody but the owner may look.';
create schema rest;
comment on schema rest is 'The gateway of /rest/v1. Internal.';

create table bus.applied (
  only_row boolean primary key default true check (only_row),
  sql_hash text not null,
  applied_at timestamptz not null default now()
);
comment on table bus.applied is 'Which state of sql/ (functions, triggers, views) the database has.';

create table bus.queues (
  queue text primary key,
  lease interval not null,
  backoff interval not null,
  backoff_cap interval not null,
  max_attempts int not null,
  hold interval not null default '0'
);
comment on table bus.queues is 'How each queue retries. Data: an operator may change it while everything runs.';
comment on column bus.queues.lease is 'How long a claimed task stays with its worker; afterwards it is due again. Longer than the longest step between two heartbeats.';
comment on column bus.queues.backoff is 'Retry n waits a random time up to backoff * 2^n, at most backoff_cap (exponential, full jitter).';
comment on column bus.queues.max_attempts is 'After this many attempts the task goes to bus.dead.';
comment on column bus.queues.hold is 'dispatch: how long a send whose outcome is unknown waits for a receipt before it is given up. intake: how long journal entries are kept.';

insert into bus.queues (queue, lease, backoff, backoff_cap, max_attempts, hold) values
  ('intake',   '30 s', '1 s',    '1 minute',   50,   '14 days'),
  ('agent',    '30 s', '2 s',    '5 minutes',  400,  '0'),
  ('dispatch', '30 s', '1 s',    '10 minutes', 200,  '10 minutes'),
  ('receipts', '30 s', '1 s',    '10 s',       4,    '0'),
  ('seal',     '30 s', '1 s',    '1 minute',   1000, '0');

create table bus.tasks (
  queue text not null,
  organization_id uuid not null,
  id bigint not null generated always as identity,
  key text collate "C" not null,
  lane text collate "C" not null default '',
  subject text not null,
  priority smallint not null default 0,
  single boolean not null default false,
  due_at timestamptz not null default now(),
  run_at timestamptz not null default now(),
  attempt int not null default 0,
  version int not null default 0,
  worker uuid,
  suspect boolean not null default false,
  held_since timestamptz,
  errors jsonb,
  created_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, queue, key, due_at, id)
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 20000);
create index tasks_due on bus.tasks (queue, run_at);
create index tasks_turn on bus.tasks (queue, organization_id, lane, priority, run_at);
create unique index tasks_single on bus.tasks (organization_id, queue, key) where single;
comment on table bus.tasks is
  'One narrow row for each thing that needs doing; deleted when done. Claiming pushes run_at into the future by the lease, so a crashed worker''s tasks become due again by themselves.';
comment on column bus.tasks.organization_id is 'Whose work it is. Journal entries belong to nobody yet and carry the nil uuid.';
comment on column bus.tasks.key is 'Tasks of one key run one after the other, oldest (due_at, id) first: the conversation for agent and dispatch.';
comment on column bus.tasks.lane is 'What is paced and paused together: the organization''s address for dispatch, empty for others.';
comment on column bus.tasks.subject is 'The row it is about: a message''s id, a journal entry''s, …';
comment on column bus.tasks.priority is '0 before 1 within an organization: answers go before broadcasts.';
comment on column bus.tasks.single is 'At most one such task for a key: another request moves the waiting one and raises its version (debounce).';
comment on column bus.tasks.due_at is 'When it was first due. Orders the tasks of a key; retries do not change it.';
comment on column bus.tasks.attempt is 'Raised by every claim; finish and retry name it and do nothing when it is no longer theirs (fencing).';
comment on column bus.tasks.version is 'Raised when another message came while the task waited or ran: a running agent learns from it that it is outdated.';
comment on column bus.tasks.worker is 'Who claimed it and has not given it back. Set on a due task it means that the last attempt ended without a word.';
comment on column bus.tasks.suspect is 'Whether it had a worker already when it was claimed last.';
comment on column bus.tasks.held_since is 'Since when a send with an unknown outcome waits for a receipt to settle it. Held tasks do not block their key.';

create type bus.claimed as (
  queue text, organization_id uuid, key text, id bigint, lane text, subject text,
  attempt int, version int, suspect boolean, held_since timestamptz);
comment on type bus.claimed is 'A task as bus.claim gives it out. suspect: an earlier attempt ended without a word.';

create type bus.job as (
  queue text, organization_id uuid, key text, id bigint, lane text, attempt int, version int, payload jsonb);
comment on type bus.job is 'A claimed task with all its handler needs.';

create type bus.sent as (
  queue text, organization_id uuid, key text, id bigint, lane text, attempt int, message_id uuid,
  outcome text, external_id text, status jsonb, holds boolean);
comment on type bus.sent is 'What came of a send, as the dispatch loop reports it.';

create table bus.dead (
  organization_id uuid not null,
  queue text not null,
  id bigint not null,
  key text not null,
  lane text not null,
  subject text not null,
  priority smallint not null,
  single boolean not null,
  due_at timestamptz not null,
  attempt int not null,
  errors jsonb,
  created_at timestamptz not null,
  died_at timestamptz not null default now(),
  primary key (organization_id, queue, id)
);
create index dead_subject on bus.dead (organization_id, queue, subject);
create index dead_died on bus.dead (queue, died_at);
comment on table bus.dead is 'Tasks that were given up, with their errors. tidings replay --dead puts them back.';

create table bus.lanes (
  organization_id uuid not null references public.organizations on delete cascade,
  lane text collate "C" not null,
  rate numeric not null default 80 check (rate > 0),
  tat timestamptz not null default '-infinity',
  strikes int not null default 0,
  resume_at timestamptz,
  paused_reason text,
  updated_at timestamptz not null default now(),
  primary key (organization_id, lane)
) with (fillfactor = 50);
comment on table bus.lanes is 'Pace and health of each number, shared by all processes. Made with the address.';
comment on column bus.lanes.rate is 'Messages a second that the number may send.';
comment on column bus.lanes.tat is 'Theoretical arrival time of the next message (GCRA): a claim takes only as many as fit before now.';
comment on column bus.lanes.strikes is 'Failures in a row that concern the number and not a message; while there are any, one message at a time probes.';
comment on column bus.lanes.resume_at is 'Nothing is claimed before this time; infinity waits for somebody to reconnect the number.';
comment on column bus.lanes.paused_reason is 'Why, in words for an operator.';

create unlogged table bus.pairs (
  organization_id uuid not null,
  key text not null,
  tat timestamptz not null,
  primary key (organization_id, key)
) with (fillfactor = 50);
comment on table bus.pairs is 'Pace of each pair of numbers (one message in 6 s, 45 in a burst), by conversation. Unlogged: a crash only forgets the pace.';

create unlogged table bus.awake (
  queue text not null,
  worker uuid not null,
  until timestamptz not null,
  primary key (queue, worker)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0.0);
comment on table bus.awake is 'Which loops will look at the table again by themselves. No row, or an old one, means asleep: the bell rings.';

create table bus.journal (
  id bigint not null generated always as identity primary key,
  received_at timestamptz not null default clock_timestamp(),
  app_id text,
  body bytea not null
);
comment on table bus.journal is 'What came in from outside, byte for byte, before anyone understood it. Append only. It belongs to no organization yet.';
comment on column bus.journal.app_id is 'The Meta app whose secret signed it, where it is known.';
alter table bus.journal alter column body set storage external;
-- For pruning: entries lie in the order of time, so a summary of each range of pages suffices.
create index journal_received on bus.journal using brin (received_at);

create table bus.parked (
  id bigint not null generated always as identity primary key,
  journal_id bigint not null references bus.journal on delete cascade,
  organization_id uuid,
  address text,
  reason text not null,
  detail text not null default '',
  raw jsonb,
  created_at timestamptz not null default now()
);
create index parked_journal on bus.parked (journal_id);
create index parked_address on bus.parked (address) where address is not null;
comment on table bus.parked is 'Parts of journal entries that could not be stored, each with its reason and its raw JSON. Replayable; numbers nobody registered replay by themselves when the address appears.';

create table bus.orphans (
  organization_id uuid not null references public.organizations on delete cascade,
  organization_address text not null,
  external_id text not null,
  status jsonb not null,
  created_at timestamptz not null default now(),
  primary key (organization_id, organization_address, external_id)
);
comment on table bus.orphans is 'Receipts that came before their message. Applied when the message gets its external_id.';

create table bus.numbers (
  service public.service not null,
  address text not null,
  organization_id uuid not null references public.organizations on delete cascade,
  primary key (service, address)
);
create index numbers_organization on bus.numbers (organization_id);
comment on table bus.numbers is
  'Directory: whose traffic an address is. The organization that connected it last; it has no organization in its key because it is what finds one.';

create table secrets.credentials (
  organization_id uuid not null references public.organizations on delete cascade deferrable initially deferred,
  subject text not null,
  subject_key text not null,
  path text not null,
  plain text,
  sealed bytea,
  updated_at timestamptz not null default now(),
  primary key (organization_id, subject, subject_key, path),
  constraint credentials_plain_or_sealed check ((plain is null) <> (sealed is null))
);
comment on table secrets.credentials is
  'Tokens, keys and passwords taken out of extra by triggers. plain holds a value only until the seal loop has encrypted it (AES-256-GCM, SECRETS_KEY) into sealed.';
comment on column secrets.credentials.subject is 'The table it came from.';
comment on column secrets.credentials.subject_key is 'The row''s key within the organization.';
comment on column secrets.credentials.path is 'Where in extra it stood, dots between the keys; elements of arrays by their label or name.';

create table secrets.api_keys (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  role public.role not null default 'member',
  name text not null,
  prefix text not null,
  hash bytea not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id)
);
comment on table secrets.api_keys is 'API keys by their SHA-256; public.api_keys is how they are made and listed.';

create table secrets.api_key_owners (
  hash bytea primary key,
  organization_id uuid not null,
  id uuid not null,
  foreign key (organization_id, id) references secrets.api_keys on delete cascade
);
create index api_key_owners_key on secrets.api_key_owners (organization_id, id);
comment on table secrets.api_key_owners is 'Directory: which organization a key belongs to. No organization in its key because it is what finds one.';
