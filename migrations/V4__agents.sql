-- Agents: who answers what (bindings), what tools may do (policies, approvals), which calls are open, what models cost.

set local client_min_messages = warning;

create table public.bindings (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  position int not null default 0,
  agent_id uuid not null,
  service public.service,
  organization_address text,
  contact_address text,
  group_address text,
  text_regex text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, agent_id) references public.agents on delete cascade
);
create index bindings_position on public.bindings (organization_id, position, id);
create index bindings_agent on public.bindings (organization_id, agent_id);
comment on table public.bindings is
  'Which AI agent answers what: rules are tried by position, the first that matches wins; without a match the defaults decide. A column that is null matches everything.';
comment on column public.bindings.organization_address is 'The number that was written to: its id, or its phone number in digits.';
comment on column public.bindings.contact_address is 'Who wrote: his address, or his phone number in digits.';
comment on column public.bindings.text_regex is
  'Matched, without regard to case, against the text of the newest message (or a file''s caption). PostgreSQL''s regular expressions without back-references, at most 500 characters.';

create table public.policies (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  position int not null default 0,
  name text,
  service public.service,
  agent_id uuid,
  tool text,
  effect text check (effect in ('read', 'write', 'external')),
  decision text not null check (decision in ('allow', 'deny', 'ask')),
  expires_after interval not null default '24 hours' check (expires_after > '0' and expires_after <= '30 days'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, agent_id) references public.agents on delete cascade
);
create index policies_position on public.policies (organization_id, position, id);
create index policies_agent on public.policies (organization_id, agent_id) where agent_id is not null;
comment on table public.policies is
  'What agents'' tools may do: rules are tried by position, the first that matches a call decides; without a match it is allowed. A column that is null matches everything.';
comment on column public.policies.tool is 'The tool as the model sees it (calculator, shop__request); * stands for any characters (shop__*).';
comment on column public.policies.effect is 'read (changes nothing), write (changes data of the organization), external (acts on the world outside).';
comment on column public.policies.decision is 'allow, deny (the model is told), or ask: the call waits in approvals for a person.';
comment on column public.policies.expires_after is 'How long a question waits for its answer.';

create table public.approvals (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  conversation_id uuid not null,
  message_id uuid not null,
  agent_id uuid not null,
  tool text not null,
  effect text not null,
  arguments jsonb not null,
  state text not null default 'pending' check (state in ('pending', 'granted', 'refused', 'expired')),
  note text,
  decided_by uuid,
  expires_at timestamptz not null,
  decided_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, conversation_id) references public.conversations on delete cascade,
  foreign key (organization_id, message_id) references public.messages on delete cascade,
  foreign key (organization_id, agent_id) references public.agents on delete cascade
);
create unique index approvals_message on public.approvals (organization_id, message_id);
create index approvals_pending on public.approvals (organization_id, created_at) where state = 'pending';
create index approvals_conversation on public.approvals (organization_id, conversation_id);
create index approvals_agent on public.approvals (organization_id, agent_id);
comment on table public.approvals is
  'Tool calls that wait for a person. Update state to granted or refused, with a note for the agent where one helps; the run goes on.';
comment on column public.approvals.message_id is 'The internal message that holds the call.';
comment on column public.approvals.decided_by is 'The person (agents.id), where the client says so.';
comment on column public.approvals.state is 'pending, then granted or refused by a person, or expired.';

create table bus.calls (
  organization_id uuid not null,
  conversation_id uuid not null,
  message_id uuid not null,
  agent_id uuid not null,
  effect text not null,
  here boolean not null,
  state text not null check (state in ('ready', 'asked', 'started')),
  approved boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, conversation_id, message_id),
  foreign key (organization_id, message_id) references public.messages on delete cascade,
  foreign key (organization_id, agent_id) references public.agents on delete cascade
);
create index calls_agent on bus.calls (organization_id, agent_id);
create index calls_message on bus.calls (organization_id, message_id);
comment on table bus.calls is 'Tool calls without a result yet. Deleted with it.';
comment on column bus.calls.message_id is 'The internal message that holds the call.';
comment on column bus.calls.here is 'Whether the tool works in the database: such calls are made in the transaction that stores them.';
comment on column bus.calls.state is
  'ready (to be made), asked (waits for a person), started (given to a worker: if no result comes, whether it acted is unknown).';

create table public.usage (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  conversation_id uuid,
  message_id uuid,
  agent_id uuid,
  purpose text not null check (purpose in ('answer', 'summary', 'media')),
  provider text not null,
  model text not null,
  billable boolean not null default false,
  input_tokens bigint not null default 0,
  cache_read_tokens bigint not null default 0,
  cache_write_tokens bigint not null default 0,
  audio_input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  audio_output_tokens bigint not null default 0,
  cost numeric,
  created_at timestamptz not null default now(),
  primary key (organization_id, id)
);
create index usage_message on public.usage (organization_id, message_id) where message_id is not null;
create index usage_created on public.usage (organization_id, created_at);
comment on table public.usage is 'Every call of a model: its tokens by kind, and what it cost by the price table. Stays when its conversation goes.';
comment on column public.usage.message_id is 'The first message that the call produced (an answer, or a tool call); for media the message with the file.';
comment on column public.usage.input_tokens is 'All that was read; cache_read, cache_write and audio_input are parts of it.';
comment on column public.usage.output_tokens is 'All that was written; reasoning and audio_output are parts of it.';
comment on column public.usage.cost is 'In US dollars; null when billing.costs has no price for the model.';
comment on column public.usage.billable is 'Whether it was made with the operator''s key rather than one of the organization''s.';

create table bus.spent (
  organization_id uuid not null references public.organizations on delete cascade,
  day date not null,
  agent_id uuid not null,
  conversation_id uuid not null,
  turns numeric not null default 0,
  tool_calls numeric not null default 0,
  tokens numeric not null default 0,
  cost numeric not null default 0,
  primary key (organization_id, day, agent_id, conversation_id)
) with (fillfactor = 70);
comment on table bus.spent is 'What agents used each day (UTC) in each conversation: what limits are judged by. Kept for a week.';

create schema if not exists billing;
comment on schema billing is 'Plans, prices and usage.';

create table billing.costs (
  provider text not null,
  product text not null,
  effective_at timestamptz not null default now(),
  quantity numeric not null default 1000000 check (quantity > 0),
  unit text not null default 'token',
  pricing jsonb not null,
  primary key (provider, product, effective_at)
);
comment on table billing.costs is
  'What models cost: US dollars for so many (quantity) tokens, by kind: input, output, cache_read, cache_write, reasoning, audio_input, audio_output. The newest row that is in force counts.';
comment on column billing.costs.provider is 'openai, anthropic, google, groq, or custom for any other address.';

-- List prices of the models that agents use when they name none; whoever bills by them keeps them current.
insert into billing.costs (provider, product, effective_at, pricing) values
  ('openai',    'gpt-5-mini',             '2026-01-01', '{"input": 0.25, "cache_read": 0.025, "output": 2}'),
  ('anthropic', 'claude-sonnet-4-6',      '2026-01-01', '{"input": 3, "cache_read": 0.3, "cache_write": 3.75, "output": 15}'),
  ('google',    'gemini-3-flash-preview', '2026-01-01', '{"input": 0.5, "cache_read": 0.05, "audio_input": 1, "output": 3}'),
  ('google',    'gemini-2.5-flash',       '2026-01-01', '{"input": 0.3, "cache_read": 0.03, "audio_input": 1, "output": 2.5}'),
  ('google',    'gemini-2.5-pro',         '2026-01-01', '{"input": 1.25, "cache_read": 0.125, "output": 10}'),
  ('groq',      'openai/gpt-oss-20b',     '2026-01-01', '{"input": 0.075, "cache_read": 0.0375, "output": 0.3}');

insert into bus.queues (queue, lease, backoff, backoff_cap, max_attempts, hold) values
  ('preprocess', '60 s', '2 s', '5 minutes', 12, '0'),
  ('summarise',  '60 s', '5 s', '5 minutes', 5,  '0');

comment on column bus.tasks.waits_for is
  'dispatch: the upload that must be done first, as storage.upload_key names it. agent: media, approval, or remote (a task of another agent; recall while that is being asked and has called). Its end makes the task due.';
comment on column public.organizations.extra is
  'Settings: response_delay_seconds (3), welcome_message, authorized_contacts_only, default_agent_id, pause_hours (12), time_zone (UTC), limits, '
  'media_preprocessing, error_messages_direction. Updates merge; a JSON null removes a key.';
comment on column public.conversations.extra is
  'memory, summary, fresh_since (the contact started over), paused (time: the agent is silent for pause_hours from it), handoff, archived, pinned, default_agent_id, assigned_agent_id (to whom another agent passed it). Updates merge; a JSON null removes a key.';

drop function if exists bus.is_paused(jsonb);
drop function if exists bus.choose_agent(public.organizations, public.conversations);
drop function if exists bus.agent_history(uuid, uuid);
drop function if exists bus.answer(public.conversations, uuid, jsonb, public.direction);

alter table storage.objects add column message_id uuid;
alter table storage.objects add constraint objects_message foreign key (organization_id, message_id) references public.messages on delete cascade;
create index objects_message on storage.objects (organization_id, message_id) where message_id is not null;
comment on column storage.objects.message_id is 'The message that a file was derived from (its table, its text, what a tool made): the file goes with it.';

create type bus.step as (
  queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
  agent_id uuid, results jsonb, unstarted jsonb, turn jsonb, answer jsonb, seen jsonb, remote jsonb, usage jsonb, apology jsonb, forget timestamptz);
comment on type bus.step is
  'What a step of an agent''s run came to. results: [{message_id, result, is_error}] of calls; unstarted: calls that were not begun; turn: {calls, text, state} of the model; answer, apology: contents to send; seen: the messages that the answer is to; remote: a task of another agent, as content; usage: tokens; forget: since when the contact starts over.';

-- The same ids, several times as fast: a function in SQL is planned anew in each statement that uses it.
create or replace function public.uuid_v7() returns uuid
language plpgsql volatile parallel safe
as $$
declare
  us bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  fraction int := ((us % 1000) * 4096 / 1000)::int;
begin
  return encode(
    set_byte(
      set_byte(
        overlay(uuid_send(gen_random_uuid()) placing substring(int8send(us / 1000) from 3) from 1 for 6),
        6, 112 | (fraction >> 8)),
      7, fraction & 255),
    'hex')::uuid;
end
$$;
