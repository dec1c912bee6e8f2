//! The shape of the file: every section with its keys, as TOML has them. What they mean is [`super::parse`]'s.

use super::setting::{SecretText, Setting, TextList, TextOrNumber, UrlText};
use super::tree::{Named, kinds, section};

section! {
    /// The whole file.
    RawConfig {
        daemon: RawDaemon,
        sources: Named<RawSource>,
        stores: Named<RawStore>,
        streams: Named<RawStream>,
        signing: Option<RawSigning>,
        alerts: Option<RawAlerts>,
    }
}

section! {
    /// `[daemon]`
    RawDaemon {
        state_dir: Setting<String>,
        schedule: Setting<String>,
        concurrency: Setting<i64>,
        keep_attempts: Setting<String>,
        listen: Setting<String>,
        page_hosts: Setting<TextList>,
    }
}

section! {
    /// `[alerts]`
    RawAlerts {
        heartbeat_url_file: Setting<SecretText>,
    }
}

section! {
    /// `[signing]`
    RawSigning {
        key_file: Setting<SecretText>,
        allowed_signers_file: Setting<String>,
    }
}

kinds! {
    /// `[sources.*]`
    RawSource { "huaweicloud-workspace" => Workspace(RawWorkspace) }
}

section! {
    /// A source of the kind `huaweicloud-workspace`.
    RawWorkspace {
        region: Setting<String>,
        endpoint: Setting<UrlText>,
        project_id: Setting<String>,
        iam_endpoint: Setting<UrlText>,
        api: Setting<String>,
        requests_per_second: Setting<i64>,
        horizon: Setting<String>,
        past_horizon: Setting<String>,
        task_timeout: Setting<String>,
        ca_file: Setting<String>,
        connect_timeout: Setting<String>,
        first_byte_timeout: Setting<String>,
        stall_timeout: Setting<String>,
        least_rate: Setting<String>,
        max_body: Setting<String>,
        credentials: RawCredentials,
    }
}

kinds! {
    /// `[sources.*.credentials]`
    RawCredentials {
        "aksk" => AkSk(RawAkSk),
        "token" => Token(RawToken),
        "ecs-agency" => EcsAgency(RawEcsAgency),
    }
}

section! {
    /// Credentials of the kind `token`.
    RawToken {
        domain: Setting<String>,
        user: Setting<String>,
        password_file: Setting<SecretText>,
    }
}

section! {
    /// Credentials of the kind `ecs-agency`.
    RawEcsAgency {
        metadata_endpoint: Setting<UrlText>,
    }
}

section! {
    /// Credentials of the kind `aksk`.
    RawAkSk {
        access_key_file: Setting<SecretText>,
        secret_key_file: Setting<SecretText>,
        security_token_file: Setting<SecretText>,
    }
}

kinds! {
    /// `[stores.*]`
    RawStore { "s3" => S3(RawS3), "directory" => Directory(RawDirectory) }
}

section! {
    /// A store of the kind `s3`.
    RawS3 {
        bucket: Setting<String>,
        region: Setting<String>,
        endpoint: Setting<UrlText>,
        path_style: Setting<bool>,
        prefix: Setting<String>,
        access_key_file: Setting<SecretText>,
        secret_key_file: Setting<SecretText>,
        security_token_file: Setting<SecretText>,
        ca_file: Setting<String>,
        least_rate: Setting<String>,
        create_only: Setting<String>,
        readback: Setting<String>,
        storage_class: Setting<String>,
        sse: Setting<String>,
        kms_key_id: Setting<String>,
        tags: Named<Setting<String>>,
        object_lock: Option<RawObjectLock>,
        legal_hold: Setting<bool>,
    }
}

section! {
    /// `object_lock` of a store of the kind `s3`.
    RawObjectLock {
        mode: Setting<String>,
        retain: Setting<String>,
    }
}

section! {
    /// A store of the kind `directory`.
    RawDirectory {
        path: Setting<String>,
        readback: Setting<String>,
    }
}

section! {
    /// `[streams.*]`
    RawStream {
        source: Setting<String>,
        store: Setting<String>,
        window: Setting<TextOrNumber>,
        timezone: Setting<String>,
        start: Setting<String>,
        accept_lost_before: Setting<String>,
        settle: Setting<String>,
        margin: Setting<String>,
        revisit: Setting<TextList>,
        deadline: Setting<String>,
        on_count_mismatch: Setting<String>,
        filters: RawFilters,
    }
}

section! {
    /// `[streams.*.filters]`
    RawFilters {
        user_name: Setting<String>,
        computer_name: Setting<String>,
        terminal_type: Setting<String>,
        language: Setting<String>,
    }
}
