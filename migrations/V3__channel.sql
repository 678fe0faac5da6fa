-- The whole channel: templates, operations on numbers, files, and what the bus needs for them.

set local client_min_messages = warning;

-- What the provider said of a message beyond its states.
alter table public.messages add column extra jsonb;
comment on column public.messages.extra is
  'What the provider told besides: pricing, conversation, recipients (of a group: participant → state → time), edits (earlier contents), payments, callback_data. Updates merge.';
create index messages_file on public.messages (organization_id, (content #>> '{file,uri}'))
  where content ->> 'type' = 'file' and content #>> '{file,uri}' like 'internal://%';

-- Nothing looks it up this way, and it stood in the way of those that are.
drop index public.contacts_addresses_replaced_by;

alter table bus.journal add column source text not null default 'whatsapp';
comment on column bus.journal.source is 'Which channel''s webhook it came by: whatsapp, instagram, or the name of a connector''s service.';
drop function if exists bus.claim_intake(uuid, int, uuid, boolean);
drop function if exists bus.finish_intake(jsonb, jsonb);
drop function if exists bus.store_contacts(jsonb);
drop function if exists bus.adopt_orphans(uuid, text, text);

alter table bus.orphans alter column status set default '{}';
alter table bus.orphans add column changes jsonb;
alter table bus.orphans add column extra jsonb;
comment on table bus.orphans is 'Receipts, edits and revocations that came before their message. Applied when the message gets its external_id.';

alter table bus.tasks add column waits_for text;
alter table bus.tasks add column waiting boolean not null default false;
comment on column bus.tasks.waiting is 'Whether it has been set aside until what it waits for is there.';
comment on column bus.tasks.waits_for is 'dispatch: the upload that must be done first, as storage.upload_key names it. Its end makes the task due.';

-- A task that is due wherever it stands in its queue: what was waited for has come.
insert into bus.queues (queue, lease, backoff, backoff_cap, max_attempts, hold) values
  ('media',  '60 s', '2 s', '10 minutes', 1200, '0'),
  ('upload', '60 s', '1 s', '5 minutes',  40, '0'),
  ('manage', '60 s', '2 s', '5 minutes',  12, '0'),
  ('sweep',  '60 s', '5 s', '10 minutes', 200, '0');

create table public.templates (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  organization_address text not null,
  waba_id text not null,
  external_id text,
  name text not null check (name ~ '^[a-z0-9_]+$' and length(name) <= 512),
  language text not null check (language ~ '^[a-z]{2,3}(_[A-Za-z]{2,4})?$'),
  category text not null check (category in ('MARKETING', 'UTILITY', 'AUTHENTICATION')),
  parameter_format text check (parameter_format in ('POSITIONAL', 'NAMED')),
  components jsonb,
  brief text,
  status text not null default 'submitting',
  quality text,
  rejected_reason text,
  error jsonb,
  extra jsonb,
  synced_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, organization_address) references public.organizations_addresses on delete cascade,
  constraint templates_components_array check (components is null or jsonb_typeof(components) = 'array'),
  constraint templates_has_content check (components is not null or brief is not null)
);
create unique index templates_name on public.templates (organization_id, waba_id, name, language);
create index templates_external_id on public.templates (organization_id, external_id) where external_id is not null;
create index templates_address on public.templates (organization_id, organization_address);
comment on table public.templates is
  'Message templates of a WhatsApp business account. Inserting a row submits it, updating category or components edits it, deleting it deletes that language at Meta; the row shows what Meta said. Synchronised from Meta.';
comment on column public.templates.organization_address is 'A number of the account, whose token is used.';
comment on column public.templates.status is
  'Meta''s, in upper case (PENDING, APPROVED, REJECTED, PAUSED …), or ours: drafting, draft, submitting, editing, failed. Set a draft to submitting to submit it.';
comment on column public.templates.brief is 'Instead of components: what the message is for. A model drafts the components; the row becomes a draft for a person to submit.';
comment on column public.templates.error is 'Why the last submission, edit or draft failed: {code, title, message}.';
comment on column public.templates.extra is 'What Meta told besides. Updates merge.';

create table public.operations (
  organization_id uuid not null references public.organizations on delete cascade,
  id uuid not null default public.uuid_v7(),
  organization_address text,
  kind text not null,
  input jsonb not null default '{}',
  state text not null default 'pending' check (state in ('pending', 'done', 'failed')),
  steps jsonb not null default '{}',
  output jsonb,
  error jsonb,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  primary key (organization_id, id),
  constraint operations_kind check (kind in (
    'signup', 'deregister', 'check', 'refresh', 'profile', 'settings', 'sync_phone', 'templates', 'template_submit', 'template_edit',
    'template_delete', 'template_draft', 'block', 'unblock', 'contact_profile', 'pairing', 'login', 'login_refresh')),
  constraint operations_input_object check (jsonb_typeof(input) = 'object')
);
create index operations_finished on public.operations (finished_at) where finished_at is not null;
comment on table public.operations is
  'What was asked of Meta about a number, and what came of it: inserting a row asks, the outcome is written back. Kept for 90 days.';
comment on column public.operations.kind is
  'signup, deregister, check (does everything work?), refresh (profile, settings, health), profile and settings (change them), sync_phone (history and contacts of a phone), templates (synchronise), template_*, block, unblock, contact_profile, login and login_refresh (Instagram), pairing (a bridge''s session).';
comment on column public.operations.steps is 'Steps that are done, each with its time: a repeated operation goes on after them.';
comment on column public.operations.error is '{code, title, message, error_data?, status?}: why it failed, in the shape of Meta''s errors.';

create table bus.windows (
  organization_id uuid not null references public.organizations on delete cascade,
  organization_address text not null,
  contact_address text not null,
  opened_at timestamptz not null,
  primary key (organization_id, organization_address, contact_address)
) with (fillfactor = 80);
comment on table bus.windows is
  'When a contact wrote last to a number, to within ten seconds: what the 24-hour window is judged by, at each send, without looking through the conversation.';

-- Of what came in before: whoever has written may still be answered.
insert into bus.windows (organization_id, organization_address, contact_address, opened_at)
select m.organization_id, m.organization_address, m.contact_address, max(m."timestamp")
from public.messages m
where m.direction = 'incoming' and m.service in ('whatsapp', 'instagram') and m.group_address is null and m.contact_address is not null and m.status ? 'pending'
group by 1, 2, 3;

create index organizations_addresses_address on public.organizations_addresses (address);
create index onboarding_tokens_id on public.onboarding_tokens (id);

create schema if not exists storage;
comment on schema storage is 'Files. Internal; clients use /storage/v1.';

create table storage.objects (
  organization_id uuid not null references public.organizations on delete cascade,
  bucket_id text not null default 'media',
  name text not null,
  state text not null default 'writing' check (state in ('writing', 'ready')),
  size bigint,
  mime_type text,
  file_name text,
  unused_since timestamptz default now(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, bucket_id, name),
  constraint objects_name check (name like 'organizations/' || organization_id || '/attachments/%' and name !~ '(^|/)\.\.?(/|$)')
);
create index objects_unused on storage.objects (unused_since) where unused_since is not null;
comment on table storage.objects is 'Stored files: organizations/<organization>/attachments/<id>, the id being the unpadded base64url SHA-256 of the bytes unless a client chose its own.';
comment on column storage.objects.state is 'writing while the bytes are on their way, ready afterwards.';
comment on column storage.objects.unused_since is 'Since when no message refers to it. A day later it is collected.';

create table storage.uploads (
  organization_id uuid not null references public.organizations on delete cascade,
  organization_address text not null,
  upload_key text not null,
  media_id text,
  expires_at timestamptz not null,
  error jsonb,
  updated_at timestamptz not null default now(),
  primary key (organization_id, organization_address, upload_key)
);
create index uploads_expiry on storage.uploads (expires_at);
comment on table storage.uploads is 'Files that were given to a provider for a number, and by which id it knows them until when. A thousand recipients cost one upload.';
comment on column storage.uploads.error is 'Why the upload is hopeless, in the shape of status.errors.';

alter type bus.claimed add attribute waits_for text;
drop function if exists public.check_content(jsonb, public.direction);
drop function if exists public.require_string(jsonb, text[], boolean);
