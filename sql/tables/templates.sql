-- templates: rows that are submitted, edited and deleted at Meta, and kept as Meta has them.

create or replace function public.before_write_templates() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    new.category := upper(new.category);
    if new.waba_id is null then
      select a.extra ->> 'waba_id' into new.waba_id from public.organizations_addresses a
      where a.organization_id = new.organization_id and a.address = new.organization_address;
      if new.waba_id is null then
        raise exception 'templates.organization_address: % has no waba_id', new.organization_address using errcode = '23514';
      end if;
    end if;
    if new.components is null and new.status = 'submitting' then
      new.status := 'drafting';
    end if;
    return new;
  end if;
  new.category := upper(new.category);
  if current_setting('tidings.synchronising', true) is distinct from 'on' then
    if new.name <> old.name or new.language <> old.language or new.waba_id <> old.waba_id then
      raise exception 'templates: name, language and account of a template cannot be changed; insert another' using errcode = '23514';
    end if;
    if (new.components is distinct from old.components or new.category <> old.category) and new.external_id is not null and new.status = old.status then
      new.status := 'editing';
      new.error := null;
    elsif new.status = 'submitting' and old.status <> 'submitting' then
      new.error := null;
    end if;
  end if;
  if new.extra is distinct from old.extra and new.extra is not null and old.extra is not null then
    new.extra := public.merge_update_jsonb(old.extra, '{}', new.extra);
  end if;
  new.updated_at := now();
  return new;
end
$$;
comment on function public.before_write_templates() is 'Fills in the account, and turns a change of content into an edit.';

create or replace trigger before_write before insert or update on public.templates
  for each row execute function public.before_write_templates();

create or replace function public.after_write_templates() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    if old.external_id is not null and current_setting('tidings.synchronising', true) is distinct from 'on'
      and exists (select from public.organizations_addresses a where a.organization_id = old.organization_id and a.address = old.organization_address) then
      perform public.operate(old.organization_id, old.organization_address, 'template_delete',
        jsonb_build_object('name', old.name, 'external_id', old.external_id, 'language', old.language));
    end if;
    return null;
  end if;
  if new.status in ('submitting', 'editing', 'drafting') and (tg_op = 'INSERT' or new.status <> old.status) then
    perform public.operate(new.organization_id, new.organization_address,
      case new.status when 'submitting' then 'template_submit' when 'editing' then 'template_edit' else 'template_draft' end,
      jsonb_build_object('template_id', new.id));
  end if;
  return null;
end
$$;
comment on function public.after_write_templates() is 'A new, changed or deleted template asks for its operation.';

create or replace trigger request_work after insert or update or delete on public.templates
  for each row execute function public.after_write_templates();

create or replace function public.after_template_operation(o public.operations) returns void
language plpgsql
set search_path = ''
as $$
begin
  perform set_config('tidings.synchronising', 'on', true);
  if o.state = 'failed' then
    update public.templates t set
      error = o.error,
      -- An edit that was refused leaves Meta's version in force: the synchronisation brings it back.
      status = case when t.status in ('submitting', 'drafting') then 'failed' when t.status = 'editing' then coalesce(t.extra ->> 'meta_status', 'failed') else t.status end
    where t.organization_id = o.organization_id and t.id::text = o.input ->> 'template_id';
  else
    update public.templates t set
      external_id = coalesce(o.output ->> 'id', t.external_id),
      -- A webhook may have been faster than the answer.
      status = case when t.status in ('submitting', 'editing', 'drafting', 'failed')
        then coalesce(o.output ->> 'status', case when t.status = 'editing' then 'PENDING' else t.status end) else t.status end,
      category = coalesce(upper(o.output ->> 'category'), t.category),
      components = case when o.output -> 'sent' is null or t.components is null or t.components = o.output -> 'sent'
        then coalesce(o.output -> 'components', t.components) else t.components end,
      extra = jsonb_build_object('meta_status', coalesce(o.output ->> 'status', 'PENDING')),
      error = null
    where t.organization_id = o.organization_id and t.id::text = o.input ->> 'template_id';
  end if;
  perform set_config('tidings.synchronising', '', true);
  if o.state = 'done' and o.kind in ('template_submit', 'template_edit') and o.output -> 'sent' is not null then
    -- Changed again while it was on its way: the change follows.
    update public.templates t set status = 'editing'
    where t.organization_id = o.organization_id and t.id::text = o.input ->> 'template_id' and t.external_id is not null
      and t.components is distinct from o.output -> 'components' and t.components is distinct from o.output -> 'sent' and t.status <> 'editing';
  end if;
  if o.kind in ('template_delete', 'template_edit') and o.state = 'failed' and exists (
    select from public.organizations_addresses a where a.organization_id = o.organization_id and a.address = o.organization_address) then
    -- What Meta has is still as it was: the row follows.
    perform public.sync_templates(o.organization_id, o.organization_address);
  end if;
end
$$;
comment on function public.after_template_operation(public.operations) is 'Writes what Meta said of a template into its row.';

create or replace function bus.save_templates(p_organization uuid, p_address text, p_waba text, p_templates jsonb, p_complete_since timestamptz) returns int
language plpgsql
set search_path = ''
as $$
declare
  n int;
begin
  perform set_config('tidings.synchronising', 'on', true);
  insert into public.templates as t (organization_id, organization_address, waba_id, external_id, name, language, category, parameter_format,
                                     components, status, quality, rejected_reason, extra, synced_at)
  select p_organization, p_address, p_waba, e ->> 'id', e ->> 'name', e ->> 'language', upper(e ->> 'category'),
    case when upper(e ->> 'parameter_format') in ('POSITIONAL', 'NAMED') then upper(e ->> 'parameter_format') end,
    coalesce(e -> 'components', '[]'), coalesce(e ->> 'status', 'PENDING'), e #>> '{quality_score,score}', nullif(e ->> 'rejected_reason', 'NONE'),
    (e - '{id,name,language,category,parameter_format,components,status,quality_score,rejected_reason}'::text[]) || jsonb_build_object('meta_status', e ->> 'status'), now()
  from (select distinct on (x ->> 'name', x ->> 'language') x as e from jsonb_array_elements(p_templates) x order by x ->> 'name', x ->> 'language') once
  where e ->> 'name' ~ '^[a-z0-9_]+$' and length(e ->> 'name') <= 512 and e ->> 'language' ~ '^[a-z]{2,3}(_[A-Za-z]{2,4})?$' and upper(e ->> 'category') in ('MARKETING', 'UTILITY', 'AUTHENTICATION')
  on conflict (organization_id, waba_id, name, language) do update set
    external_id = excluded.external_id, category = excluded.category, parameter_format = excluded.parameter_format,
    components = excluded.components, status = excluded.status, quality = excluded.quality, rejected_reason = excluded.rejected_reason,
    extra = excluded.extra, synced_at = now()
    -- What is being changed here is not overwritten before Meta has heard of it.
    where t.status not in ('editing', 'submitting');
  get diagnostics n = row_count;
  if p_complete_since is not null then
    delete from public.templates t
    where t.organization_id = p_organization and t.waba_id = p_waba and t.external_id is not null and t.updated_at < p_complete_since
      and not exists (select from jsonb_array_elements(p_templates) e where e ->> 'id' = t.external_id);
  end if;
  perform set_config('tidings.synchronising', '', true);
  return n;
end
$$;
comment on function bus.save_templates(uuid, text, text, jsonb, timestamptz) is
  'Keeps templates as Meta lists them. With a list that is complete as of a time, those go that are not in it and have not changed since.';

create or replace function public.template_hint(p_organization uuid, p_address text, p_data jsonb) returns text
language plpgsql stable
set search_path = ''
as $$
declare
  t public.templates;
  wanted int;
  given int;
begin
  select x.* into t from public.templates x
  join public.organizations_addresses a on a.organization_id = x.organization_id and a.address = p_address and a.extra ->> 'waba_id' = x.waba_id
  where x.organization_id = p_organization and x.name = p_data ->> 'name' and x.language = p_data #>> '{language,code}';
  if not found then
    return (
      select format('no template %s is known here in %s, only in %s', p_data ->> 'name', p_data #>> '{language,code}', string_agg(x.language, ', '))
      from public.templates x where x.organization_id = p_organization and x.name = p_data ->> 'name' having count(*) > 0);
  elsif t.status <> 'APPROVED' then
    return format('the template is %s%s', t.status, coalesce(': ' || t.rejected_reason, ''));
  end if;
  select count(distinct v[1]) into wanted
  from jsonb_array_elements(t.components) c, regexp_matches(c ->> 'text', '\{\{([A-Za-z0-9_]+)\}\}', 'g') v
  where upper(c ->> 'type') = 'BODY';
  select coalesce(sum(jsonb_array_length(c -> 'parameters')), 0) into given
  from jsonb_array_elements(case when jsonb_typeof(p_data -> 'components') = 'array' then p_data -> 'components' else '[]' end) c
  where upper(c ->> 'type') = 'BODY' and jsonb_typeof(c -> 'parameters') = 'array';
  if wanted <> given then
    return format('the body of the template has %s variables, the message gives %s', wanted, given);
  end if;
  return null;
end
$$;
comment on function public.template_hint(uuid, text, jsonb) is
  'What the synchronised definition says of a template message that Meta refused. It never keeps one from being sent: ours may be out of date.';
