-- The public data model: organizations, their addresses, contacts, conversations, messages and what surrounds them.
--
-- Style: lower case, schema-qualified, snake_case plural tables. Every tenant table has organization_id first in its
-- primary key, and foreign keys between tenant tables carry it, so that no row can point into another organization
-- whatever code runs. Foreign keys cascade or restrict; where a reference has to be forgotten instead (agent_id,
-- contact_id) a trigger does it. Functions, triggers and views live in sql/ and are applied again after each change.

create schema if not exists auth;

create function public.uuid_v7() returns uuid
language sql volatile parallel safe
as $$
  -- 48 bits of milliseconds, 4 of version, 12 of the millisecond's fraction, then 62 random ones: RFC 9562, method 3.
  select encode(
    set_byte(
      set_byte(
        overlay(uuid_send(gen_random_uuid()) placing substring(int8send(us / 1000) from 3) from 1 for 6),
        6, (112 | (((us % 1000) * 4096 / 1000) >> 8))::int),
      7, (((us % 1000) * 4096 / 1000) & 255)::int),
    'hex')::uuid
  from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us) as clock
$$;
comment on function public.uuid_v7() is 'A new id that sorts by the time it was made, to the microsecond (UUID version 7).';

create type public.direction as enum ('incoming', 'outgoing', 'internal');
create type public.service as enum ('whatsapp', 'instagram', 'local', 'slack', 'discord', 'teams', 'whatsapp-web');
create type public.webhook_operation as enum ('insert', 'update');
create type public.webhook_table as enum
  ('messages', 'conversations', 'organizations_addresses', 'contacts', 'contacts_addresses', 'logs');
create type public.role as enum ('owner', 'admin', 'member');
create type public.log_level as enum ('info', 'warning', 'error');

create table if not exists auth.users (
  id uuid primary key default gen_random_uuid(),
  email text,
  raw_user_meta_data jsonb,
  created_at timestamptz not null default now()
);
comment on table auth.users is 'People who sign in. Only as much as other tables refer to; an existing one is left as it is.';

create table public.organizations (
  id uuid primary key default public.uuid_v7(),
  name text not null,
  extra jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.organizations is 'The tenants. Everything else belongs to exactly one of them and goes with it.';
comment on column public.organizations.extra is
  'Settings: response_delay_seconds (3), welcome_message, authorized_contacts_only, default_agent_id, '
  'media_preprocessing, error_messages_direction. Updates merge; a JSON null removes a key.';

create table public.organizations_addresses (
  organization_id uuid not null references public.organizations on delete cascade,
  service public.service not null,
  address text not null check (address <> ''),
  extra jsonb,
  status text not null default 'connected',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, address)
);
create index organizations_addresses_waba_id on public.organizations_addresses ((extra->>'waba_id')) where service = 'whatsapp';
create index organizations_addresses_phone_number on public.organizations_addresses ((extra->>'phone_number')) where service = 'whatsapp';
comment on table public.organizations_addresses is
  'Connected accounts: for WhatsApp the address is Meta''s phone number id, for local the organization''s id.';
comment on column public.organizations_addresses.extra is
  'WhatsApp: waba_id, business_id, phone_number (digits), verified_name, flow_type, access_token (sealed on the way in).';

create table public.contacts (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  name text,
  extra jsonb,
  status text not null default 'active',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id)
);
comment on table public.contacts is 'The address book: people, each with any number of addresses.';

create table public.contacts_addresses (
  organization_id uuid not null references public.organizations on delete cascade,
  contact_id uuid,
  service public.service not null,
  address text not null check (address <> ''),
  extra jsonb,
  status text not null default 'active',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, service, address),
  foreign key (organization_id, contact_id) references public.contacts
);
create index contacts_addresses_contact on public.contacts_addresses (organization_id, contact_id);
create index contacts_addresses_phone_number on public.contacts_addresses (organization_id, (extra->>'phone_number')) where service = 'whatsapp';
create index contacts_addresses_bsuid on public.contacts_addresses (organization_id, (extra->>'bsuid')) where service = 'whatsapp';
create index contacts_addresses_replaced_by on public.contacts_addresses (organization_id, (extra->>'replaced_by_bsuid')) where service = 'whatsapp';
comment on table public.contacts_addresses is
  'Where people write from: digits of a phone or a business-scoped user id. Exists from the first message on; a contact is linked later, or never.';

create table public.conversations (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  service public.service not null,
  organization_address text not null,
  contact_address text,
  group_address text,
  name text,
  extra jsonb,
  status text not null default 'active',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, organization_address) references public.organizations_addresses,
  foreign key (organization_id, service, contact_address) references public.contacts_addresses
);
-- One active conversation for each pair, and for each group. Local chats without a contact may be several.
create unique index conversations_active_contact on public.conversations
  (organization_id, service, organization_address, contact_address)
  where status = 'active' and group_address is null and contact_address is not null;
create unique index conversations_active_group on public.conversations
  (organization_id, service, organization_address, group_address)
  where status = 'active' and group_address is not null;
create index conversations_address on public.conversations (organization_id, organization_address);
create index conversations_contact on public.conversations (organization_id, service, contact_address);
create index conversations_updated on public.conversations (organization_id, updated_at);
comment on table public.conversations is
  'A thread between one of the organization''s addresses and a contact or a group. At most one is active for each pair; closed ones stay.';
comment on column public.conversations.extra is
  'memory, paused (time: the agent is silent for 12 hours from it), archived, pinned, default_agent_id. Updates merge; a JSON null removes a key.';

create table public.agents (
  organization_id uuid not null references public.organizations on delete cascade,
  user_id uuid references auth.users on delete cascade,
  id uuid not null default public.uuid_v7(),
  name text not null,
  picture text,
  ai boolean not null,
  extra jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id),
  unique (organization_id, user_id),
  constraint agents_ai_is_no_member check (not (ai and (user_id is not null or extra ? 'role' or extra ? 'invitation')))
);
create index agents_user on public.agents (user_id);
comment on table public.agents is 'Who answers for the organization: AI agents, and people with their roles and invitations.';

create table public.messages (
  organization_id uuid not null references public.organizations on delete cascade,
  conversation_id uuid not null,
  id uuid not null default public.uuid_v7(),
  external_id text,
  direction public.direction not null,
  agent_id uuid,
  contact_address text,
  service public.service not null,
  organization_address text not null,
  group_address text,
  thread_id text,
  content jsonb not null,
  status jsonb not null default jsonb_build_object('pending', now()),
  "timestamp" timestamptz not null default now(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, conversation_id) references public.conversations on delete cascade,
  foreign key (organization_id, agent_id) references public.agents,
  constraint messages_content_schema check (
    coalesce(
      jsonb_typeof(content) = 'object'
      and content->>'version' = '1'
      and content->>'type' in ('text', 'file', 'data')
      and content->>'kind' <> '',
      false)),
  constraint messages_status_object check (jsonb_typeof(status) = 'object'),
  constraint messages_timestamp_finite check (isfinite("timestamp"))
) with (fillfactor = 85);
-- None of these holds a column that a receipt changes, so status updates stay on their page (HOT).
create unique index messages_external_id on public.messages (organization_id, organization_address, external_id) where external_id is not null;
create index messages_conversation on public.messages (organization_id, conversation_id, "timestamp" desc);
create index messages_newest on public.messages (organization_id, "timestamp" desc);
create index messages_agent on public.messages (organization_id, agent_id) where agent_id is not null;
alter table public.messages set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
comment on table public.messages is
  'Every message in and out. Inserting an outgoing row sends it; inserting an incoming one asks the agent for an answer; the outcome is written back to status.';
comment on column public.messages.external_id is 'The provider''s id (wamid …), unique within the organization''s address; null until the provider accepted the message.';
comment on column public.messages.content is '{"version":"1","type":"text"|"file"|"data","kind":…,…}: one part per message.';
comment on column public.messages.status is
  'Map of state to time: pending, accepted, sent, delivered, read, failed (with errors) …. It only grows; a row inserted without pending is inert.';
comment on column public.messages."timestamp" is 'The provider''s time for what came in. On an outgoing row a future value schedules the message.';

create table public.webhooks (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  table_name public.webhook_table not null,
  operations public.webhook_operation[] not null,
  url varchar not null,
  token varchar,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id)
);
comment on table public.webhooks is 'Endpoints of customers that want to hear of changed rows.';

create table public.quick_replies (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  name text not null,
  content text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id)
);
comment on table public.quick_replies is 'Canned answers for people who write by hand.';

create table public.logs (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  organization_address text,
  level public.log_level not null,
  category text not null,
  service public.service,
  message text not null,
  metadata jsonb,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, organization_address) references public.organizations_addresses on delete cascade
);
create index logs_address on public.logs (organization_id, organization_address);
create index logs_newest on public.logs (organization_id, created_at desc);
comment on table public.logs is 'What the organization should know of: failures, account events, imports.';

create table public.onboarding_tokens (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default gen_random_uuid(),
  name text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  status text not null default 'active' check (status in ('active', 'used', 'expired')),
  service public.service not null,
  callback_url text,
  verify_token text,
  primary key (organization_id, id)
);
comment on table public.onboarding_tokens is 'Links by which somebody outside connects a number to the organization. The id is the secret of the link, so it is random.';
