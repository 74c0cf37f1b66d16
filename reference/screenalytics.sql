-- The part of Screenalytics' schema that the contracts speak of, under the deployed names.
create table person (
    person_id uuid primary key,  -- the person's id at TRR-Backend
    canonical_name text,
    display_name text,
    created_at timestamptz not null default now()
);

create table face_bank_images (
    image_id uuid primary key default gen_random_uuid(),
    person_id uuid not null references person (person_id) on delete cascade,
    media_asset_id uuid,
    source_url text not null,  -- the photo's served_url
    s3_original_key text,  -- null until the original is copied
    is_seed boolean not null default false,
    approved boolean,
    approved_at timestamptz,
    approved_by text,
    created_at timestamptz not null default now()
);

-- Whatever runs at the same time, an address is a person's image at most once.
create unique index face_bank_images_once on face_bank_images (person_id, source_url);

create table episode_cast (
    ep_id text not null,
    person_id uuid not null,
    billing_order integer not null,
    primary key (ep_id, person_id)
);
