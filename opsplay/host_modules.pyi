# Made by python -m opsplay.reference from what the modules declare.
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from opsplay.api import Outcome

class HostModules:
    def run_module(self, module: str, params: Mapping[str, Any], ignore_errors: bool = ...) -> Outcome: ...
    def authorized_key(
        self,
        *,
        user: str,
        key: str,
        path: str | None = ...,
        manage_dir: bool | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        key_options: str | None = ...,
        exclusive: bool | None = ...,
        comment: str | None = ...,
        follow: bool | None = ...,
        validate_certs: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Say which SSH keys may log in to an account."""

    def group(
        self,
        *,
        name: str,
        gid: int | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        force: bool | None = ...,
        system: bool | None = ...,
        local: bool | None = ...,
        non_unique: bool | None = ...,
        gid_min: int | None = ...,
        gid_max: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make, change and remove groups."""

    def known_hosts(
        self,
        *,
        name: str,
        key: str | None = ...,
        path: str | None = ...,
        hash_host: bool | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Say which host keys SSH believes, in a known_hosts file."""

    def user(
        self,
        *,
        name: str,
        uid: int | None = ...,
        comment: str | None = ...,
        non_unique: bool | None = ...,
        seuser: str | None = ...,
        group: str | None = ...,
        groups: Sequence[str] | str | None = ...,
        append: bool | None = ...,
        shell: str | None = ...,
        home: str | None = ...,
        skeleton: str | None = ...,
        password: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        create_home: bool | None = ...,
        move_home: bool | None = ...,
        system: bool | None = ...,
        force: bool | None = ...,
        remove: bool | None = ...,
        generate_ssh_key: bool | None = ...,
        ssh_key_bits: int | None = ...,
        ssh_key_type: str | None = ...,
        ssh_key_file: str | None = ...,
        ssh_key_comment: str | None = ...,
        ssh_key_passphrase: str | None = ...,
        update_password: Literal['always', 'on_create'] | None = ...,
        expires: float | None = ...,
        password_lock: bool | None = ...,
        local: bool | None = ...,
        password_expire_max: int | None = ...,
        password_expire_min: int | None = ...,
        password_expire_warn: int | None = ...,
        password_expire_account_disable: int | None = ...,
        umask: str | None = ...,
        uid_min: int | None = ...,
        uid_max: int | None = ...,
        hidden: bool | None = ...,
        login_class: str | None = ...,
        profile: str | None = ...,
        authorization: str | None = ...,
        role: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make, change and remove user accounts."""

    def backup_catalog(
        self,
        *,
        dir: str,
        name: Sequence[str] | str | None = ...,
        stamp: str | None = ...,
        select: Literal['latest', 'latest_verified', 'latest_proven'] | None = ...,
        level: Literal['list', 'read', 'restore'] | None = ...,
        before: str | None = ...,
        tags: bool | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        check: bool | None = ...,
        max_age: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Say which backups there are, choose one to restore from, and fail when the newest is too old or not good enough."""

    def backup_restore(
        self,
        *,
        src: str,
        parts: Sequence[str] | str | None = ...,
        validate: Sequence[Any] | Any | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        keep_old: bool | None = ...,
        key: str | None = ...,
        key_passphrase: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Put files of a backup set back where they belong: configuration, keys, data."""

    def backup_rotate(
        self,
        *,
        dir: str,
        name: Sequence[str] | str | None = ...,
        tags: bool | None = ...,
        wait: int | None = ...,
        keep_days: int | None = ...,
        keep_daily: int | None = ...,
        keep_weekly: int | None = ...,
        keep_monthly: int | None = ...,
        keep_min: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Remove backups that are old enough, and never the last good ones."""

    def backup_set(
        self,
        *,
        name: str,
        dir: str,
        type: Literal['full', 'incremental', 'database', 'config', 'emergency'] | None = ...,
        base: str | None = ...,
        databases: Mapping[str, Any] | None = ...,
        redis: Mapping[str, Any] | None = ...,
        programs: Mapping[str, Any] | None = ...,
        archives: Mapping[str, Any] | None = ...,
        config: Any | None = ...,
        release: str | None = ...,
        tag: str | None = ...,
        encrypt: Mapping[str, Any] | None = ...,
        sign: Literal['auto', 'required'] | None = ...,
        wait: int | None = ...,
        keep_days: int | None = ...,
        keep_daily: int | None = ...,
        keep_weekly: int | None = ...,
        keep_monthly: int | None = ...,
        keep_min: int | None = ...,
        metrics_dir: str | None = ...,
        pushgateway: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Back up all that a service needs as one set: databases with their roles, configuration, keys, data."""

    def backup_store(
        self,
        *,
        path: str | None = ...,
        account: str | None = ...,
        append_keys: Sequence[str] | str | None = ...,
        read_keys: Sequence[str] | str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make this host the place where others keep their backups: keys that can add and never overwrite or remove."""

    def offsite_sync(
        self,
        *,
        dir: str,
        name: str,
        host: str | None = ...,
        port: int | None = ...,
        user: str | None = ...,
        host_key: str | None = ...,
        private_key: str | None = ...,
        key: str | None = ...,
        bucket: str | None = ...,
        endpoint: str | None = ...,
        region: str | None = ...,
        addressing: Literal['auto', 'path', 'virtual'] | None = ...,
        prefix: str | None = ...,
        access_key: str | None = ...,
        secret_key: str | None = ...,
        session_token: str | None = ...,
        credentials: str | None = ...,
        ca_file: str | None = ...,
        part_size: int | None = ...,
        proof: Literal['checksum', 'read'] | None = ...,
        timeout: int | None = ...,
        retries: int | None = ...,
        state: Literal['pushed', 'pulled', 'checked'] | None = ...,
        which: Literal['newest', 'all'] | None = ...,
        select: str | None = ...,
        before: str | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        max_age: float | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Send backups to a store elsewhere, fetch them from there, or prove that a recent one is there."""

    def stream_restore(
        self,
        *,
        src: str,
        part: str,
        argv: Sequence[str] | str,
        environment: Mapping[str, str] | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        confirm: str | None = ...,
        key: str | None = ...,
        key_passphrase: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Give a part of a backup set that a program wrote back to a program, on its standard input."""

    def async_status(
        self,
        *,
        jid: str,
        mode: Literal['status', 'cleanup'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Ask how a background job stands, or remove its result."""

    def command(
        self,
        *,
        cmd: str | None = ...,
        chdir: str | None = ...,
        creates: str | None = ...,
        removes: str | None = ...,
        stdin: str | None = ...,
        stdin_add_newline: bool | None = ...,
        strip_empty_ends: bool | None = ...,
        argv: Sequence[str] | str | None = ...,
        expand_argument_vars: bool | None = ...,
        executable: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Run a program, without a shell: pipes, redirections and patterns have no meaning here."""

    def script(
        self,
        *,
        cmd: str | None = ...,
        chdir: str | None = ...,
        creates: str | None = ...,
        removes: str | None = ...,
        executable: str | None = ...,
        decrypt: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Run a script of the control side on the host, with arguments."""

    def shell(
        self,
        *,
        cmd: str | None = ...,
        chdir: str | None = ...,
        creates: str | None = ...,
        removes: str | None = ...,
        stdin: str | None = ...,
        stdin_add_newline: bool | None = ...,
        strip_empty_ends: bool | None = ...,
        executable: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Run a command line through a shell, with its pipes, redirections and variables."""

    def release(
        self,
        *,
        path: str,
        version: str | None = ...,
        state: Literal['present', 'rolled_back', 'query'] | None = ...,
        units: Sequence[str] | str | None = ...,
        checks: Sequence[Any] | Any | None = ...,
        seconds: float | None = ...,
        keep: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Put a release of a service into use by one atomic link, prove it, and go back by itself when it does not hold."""

    def archive(
        self,
        *,
        path: Sequence[str] | str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        dest: str | None = ...,
        format: Literal['bz2', 'gz', 'tar', 'xz', 'zip'] | None = ...,
        exclude_path: Sequence[str] | str | None = ...,
        exclusion_patterns: Sequence[str] | str | None = ...,
        force_archive: bool | None = ...,
        remove: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Pack files and directories into an archive, or compress a single file."""

    def assemble(
        self,
        *,
        src: str,
        dest: str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        remote_src: bool | None = ...,
        delimiter: str | None = ...,
        regexp: str | None = ...,
        ignore_hidden: bool | None = ...,
        backup: bool | None = ...,
        validate: str | None = ...,
        decrypt: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make a file from the fragments in a directory, in the order of their names."""

    def blockinfile(
        self,
        *,
        path: str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        backup: bool | None = ...,
        validate: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        block: str | None = ...,
        marker: str | None = ...,
        marker_begin: str | None = ...,
        marker_end: str | None = ...,
        insertafter: str | None = ...,
        insertbefore: str | None = ...,
        create: bool | None = ...,
        append_newline: bool | None = ...,
        prepend_newline: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep a block of lines between two marker lines in a text file."""

    def copy(
        self,
        *,
        dest: str,
        src: str | None = ...,
        content: Any | None = ...,
        backup: bool | None = ...,
        force: bool | None = ...,
        directory_mode: str | int | None = ...,
        remote_src: bool | None = ...,
        follow: bool | None = ...,
        local_follow: bool | None = ...,
        validate: str | None = ...,
        checksum: str | None = ...,
        decrypt: bool | None = ...,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Copy files, folders or given content to the host."""

    def env_file(
        self,
        *,
        path: str,
        set: Mapping[str, Any] | None = ...,
        unset: Sequence[str] | str | None = ...,
        exclusive: bool | None = ...,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        backup: bool | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Set variables in a file of KEY=value lines: an EnvironmentFile of systemd's, a .env of compose, a file that sh reads."""

    def file(
        self,
        *,
        path: str,
        state: Literal['absent', 'directory', 'file', 'hard', 'link', 'touch'] | None = ...,
        src: str | None = ...,
        recurse: bool | None = ...,
        force: bool | None = ...,
        follow: bool | None = ...,
        modification_time: str | None = ...,
        modification_time_format: str | None = ...,
        access_time: str | None = ...,
        access_time_format: str | None = ...,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make and remove files, directories and links, and set their permissions."""

    def find(
        self,
        *,
        paths: Sequence[str] | str,
        patterns: Sequence[str] | str | None = ...,
        excludes: Sequence[str] | str | None = ...,
        use_regex: bool | None = ...,
        file_type: Literal['any', 'directory', 'file', 'link'] | None = ...,
        recurse: bool | None = ...,
        depth: int | None = ...,
        follow: bool | None = ...,
        hidden: bool | None = ...,
        age: str | None = ...,
        age_stamp: Literal['atime', 'ctime', 'mtime'] | None = ...,
        size: str | None = ...,
        mode: str | int | None = ...,
        exact_mode: bool | None = ...,
        contains: str | None = ...,
        read_whole_file: bool | None = ...,
        encoding: str | None = ...,
        get_checksum: bool | None = ...,
        checksum_algorithm: Literal['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'] | None = ...,
        limit: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """List the files below some directories that meet conditions: name, kind, age, size, mode, content."""

    def ini_file(
        self,
        *,
        path: str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        section: str | None = ...,
        section_has_values: Sequence[Any] | Any | None = ...,
        option: str | None = ...,
        value: str | None = ...,
        values: Sequence[str] | str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        exclusive: bool | None = ...,
        allow_no_value: bool | None = ...,
        no_extra_spaces: bool | None = ...,
        ignore_spaces: bool | None = ...,
        modify_inactive_option: bool | None = ...,
        create: bool | None = ...,
        follow: bool | None = ...,
        backup: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep an option, or a whole section, in an INI file."""

    def lineinfile(
        self,
        *,
        path: str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        backup: bool | None = ...,
        validate: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        line: str | None = ...,
        regexp: str | None = ...,
        search_string: str | None = ...,
        backrefs: bool | None = ...,
        insertafter: str | None = ...,
        insertbefore: str | None = ...,
        firstmatch: bool | None = ...,
        create: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """See that a line is in a text file, replace it, or remove it."""

    def replace(
        self,
        *,
        path: str,
        regexp: str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        backup: bool | None = ...,
        validate: str | None = ...,
        replace: str | None = ...,
        after: str | None = ...,
        before: str | None = ...,
        encoding: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Replace all that a regular expression finds in a text file."""

    def slurp(
        self,
        *,
        src: str,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Return a file's content, encoded as base64."""

    def stat(
        self,
        *,
        path: str,
        follow: bool | None = ...,
        get_checksum: bool | None = ...,
        checksum_algorithm: Literal['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'] | None = ...,
        get_mime: bool | None = ...,
        get_attributes: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Look at a file: whether it exists, its kind, permissions, times and checksum."""

    def tempfile(
        self,
        *,
        state: Literal['directory', 'file'] | None = ...,
        path: str | None = ...,
        prefix: str | None = ...,
        suffix: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make a temporary file or directory that only its maker may use."""

    def unarchive(
        self,
        *,
        src: str,
        dest: str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        remote_src: bool | None = ...,
        copy: bool | None = ...,
        creates: str | None = ...,
        include: Sequence[str] | str | None = ...,
        exclude: Sequence[str] | str | None = ...,
        keep_newer: bool | None = ...,
        list_files: bool | None = ...,
        extra_opts: Sequence[str] | str | None = ...,
        io_buffer_size: int | None = ...,
        validate_certs: bool | None = ...,
        decrypt: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Unpack an archive into a directory of the host."""

    def fail2ban_jail(
        self,
        *,
        name: str,
        state: Literal['present', 'absent'] | None = ...,
        enabled: bool | None = ...,
        maxretry: int | None = ...,
        findtime: str | None = ...,
        bantime: str | None = ...,
        ignoreip: Sequence[str] | str | None = ...,
        backend: Literal['auto', 'systemd', 'polling', 'pyinotify'] | None = ...,
        port: str | None = ...,
        filter: str | None = ...,
        logpath: Sequence[str] | str | None = ...,
        action: str | None = ...,
        options: Mapping[str, str] | None = ...,
        guard: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep a jail of fail2ban, which bans who fails too often, and never the control side."""

    def host_isolate(
        self,
        *,
        state: Literal['isolated', 'absent'] | None = ...,
        allow_from: Sequence[str] | str | None = ...,
        dhcp: bool | None = ...,
        reason: str | None = ...,
        confirm_within: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Cut a host off from all but the control side, and prove by a new connection that control is kept."""

    def ip_block(
        self,
        *,
        ip: Sequence[str] | str,
        state: Literal['present', 'absent'] | None = ...,
        expires: str | None = ...,
        reason: str | None = ...,
        never: Sequence[str] | str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Block addresses, for a time or for good, without ever blocking the control side or the host itself."""

    def ufw_rules(
        self,
        *,
        state: Literal['enabled', 'disabled'] | None = ...,
        incoming: Literal['allow', 'deny', 'reject'] | None = ...,
        outgoing: Literal['allow', 'deny', 'reject'] | None = ...,
        routed: Literal['allow', 'deny', 'reject'] | None = ...,
        rules: Sequence[Any] | Any | None = ...,
        exclusive: bool | None = ...,
        logging: Literal['off', 'low', 'medium', 'high', 'full'] | None = ...,
        ipv6: bool | None = ...,
        ssh_guard: Literal['refuse', 'allow', 'off'] | None = ...,
        confirm_within: int | None = ...,
        docker: Literal['warn', 'close', 'ignore'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep ufw's whole rule set as it is declared, and prove by a new connection that the host is still reached."""

    def aide(
        self,
        *,
        state: Literal['initialised', 'checked', 'updated'] | None = ...,
        rules: Sequence[str] | str | None = ...,
        only: bool | None = ...,
        name: str | None = ...,
        config: str | None = ...,
        fail_on_changes: bool | None = ...,
        timer: bool | None = ...,
        at: str | None = ...,
        timeout: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Watch files with aide: rules, the database of how they are, comparisons, and a timer that compares every day."""

    def auditd_rules(
        self,
        *,
        name: str | None = ...,
        rules: Sequence[Any] | Any | None = ...,
        baseline: bool | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        exclusive: bool | None = ...,
        backlog: int | None = ...,
        failure: Literal['silent', 'log', 'panic'] | None = ...,
        immutable: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep rules of the kernel's audit in a file below /etc/audit/rules.d, each tried before it is installed, and loaded."""

    def limits(
        self,
        *,
        name: str,
        domain: str | None = ...,
        limits: Mapping[str, Any] | None = ...,
        type: Literal['both', 'soft', 'hard'] | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Limit what each login session may use (pam_limits), in a drop-in file of its own."""

    def login_banner(
        self,
        *,
        issue: str | None = ...,
        issue_net: str | None = ...,
        motd: str | None = ...,
        escapes: bool | None = ...,
        dynamic: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Say before and after a login what is to be said: /etc/issue, /etc/issue.net and /etc/motd."""

    def password_policy(
        self,
        *,
        max_days: int | None = ...,
        min_days: int | None = ...,
        warn_days: int | None = ...,
        apply_to: Sequence[str] | str | None = ...,
        umask: str | None = ...,
        encrypt_method: Literal['SHA256', 'SHA512', 'YESCRYPT'] | None = ...,
        rounds: int | None = ...,
        login_defs: Mapping[str, str] | None = ...,
        minlen: int | None = ...,
        minclass: int | None = ...,
        dcredit: int | None = ...,
        ucredit: int | None = ...,
        lcredit: int | None = ...,
        ocredit: int | None = ...,
        difok: int | None = ...,
        maxrepeat: int | None = ...,
        maxclassrepeat: int | None = ...,
        maxsequence: int | None = ...,
        dictcheck: bool | None = ...,
        usercheck: bool | None = ...,
        enforce_for_root: bool | None = ...,
        remember: int | None = ...,
        deny: int | None = ...,
        unlock_time: int | None = ...,
        fail_interval: int | None = ...,
        deny_root: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Set rules for passwords: their age, strength and history, and the locking of accounts after failed logins."""

    def security_audit(
        self,
        *,
        sections: Sequence[Literal['firewall', 'ssh', 'intrusion', 'audit', 'kernel', 'integrity', 'limits', 'accounts', 'updates', 'certificates', 'listening', 'files', 'secrets', 'credentials', 'docker', 'cron', 'logins']] | Literal['firewall', 'ssh', 'intrusion', 'audit', 'kernel', 'integrity', 'limits', 'accounts', 'updates', 'certificates', 'listening', 'files', 'secrets', 'credentials', 'docker', 'cron', 'logins'] | None = ...,
        skip: Sequence[str] | str | None = ...,
        accept: Mapping[str, str] | None = ...,
        fail_on: Literal['none', 'info', 'low', 'medium', 'high', 'critical'] | None = ...,
        timeout: int | None = ...,
        sysctl: Mapping[str, str] | None = ...,
        listeners: Sequence[str] | str | None = ...,
        certificate_paths: Sequence[str] | str | None = ...,
        git_paths: Sequence[str] | str | None = ...,
        exclude: Sequence[str] | str | None = ...,
        setuid_allowed: Sequence[str] | str | None = ...,
        run_aide: bool | None = ...,
        certificate_days: int | None = ...,
        lists_days: int | None = ...,
        update_hours: int | None = ...,
        aide_days: int | None = ...,
        password_days: int | None = ...,
        failed_logins: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Report, item by item, how well a host is hardened; nothing is ever changed."""

    def sshd_config(
        self,
        *,
        settings: Mapping[str, Any] | None = ...,
        match: Sequence[Any] | Any | None = ...,
        name: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        guard: bool | None = ...,
        confirm_within: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep settings of sshd, and prove by a new login that the host is still reached."""

    def health_suite(
        self,
        *,
        checks: Sequence[Any] | Any,
        only: Sequence[str] | str | None = ...,
        fail_on: Literal['critical', 'warning', 'none'] | None = ...,
        soak: float | None = ...,
        interval: float | None = ...,
        retries: float | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Run a suite of health checks, each with a name and a severity, and fail when one of them is bad enough."""

    def http(
        self,
        *,
        url: str,
        method: str | None = ...,
        body: Any | None = ...,
        headers: Mapping[str, str] | None = ...,
        token: str | None = ...,
        user: str | None = ...,
        password: str | None = ...,
        address: str | None = ...,
        status: Sequence[int] | int | None = ...,
        json: Mapping[str, Any] | None = ...,
        json_not_empty: Sequence[str] | str | None = ...,
        json_max_age: Mapping[str, float] | None = ...,
        contains: str | None = ...,
        lacks: str | None = ...,
        expect_headers: Mapping[str, str] | None = ...,
        min_size: int | None = ...,
        samples: int | None = ...,
        p95_ms: float | None = ...,
        timeout: float | None = ...,
        retries: int | None = ...,
        delay: float | None = ...,
        follow_redirects: bool | None = ...,
        validate_certs: bool | None = ...,
        ca_path: str | None = ...,
        return_content: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Ask a web service and prove what it answers: status, headers, JSON, age of its data, and how fast it is."""

    def metric_push(
        self,
        *,
        name: str,
        values: Mapping[str, float],
        labels: Mapping[str, str] | None = ...,
        about: Mapping[str, str] | None = ...,
        metrics_dir: str | None = ...,
        pushgateway: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Leave numbers for Prometheus: in a file for node_exporter's textfile collector, or at a Pushgateway."""

    def dns_record(
        self,
        *,
        name: str,
        type: Literal['A', 'AAAA', 'CNAME', 'MX', 'TXT'] | None = ...,
        value: Sequence[str] | str | None = ...,
        ttl: int | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        provider: Literal['nsupdate', 'route53', 'hosts'] | None = ...,
        server: str | None = ...,
        port: int | None = ...,
        zone: str | None = ...,
        key_name: str | None = ...,
        key_secret: str | None = ...,
        key_algorithm: str | None = ...,
        access_key: str | None = ...,
        secret_key: str | None = ...,
        session_token: str | None = ...,
        credentials: str | None = ...,
        endpoint: str | None = ...,
        region: str | None = ...,
        ca_file: str | None = ...,
        timeout: int | None = ...,
        retries: int | None = ...,
        path: str | None = ...,
        wait: Sequence[str] | str | None = ...,
        wait_seconds: float | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Point a name somewhere: in a DNS zone by a signed dynamic update (nsupdate), in Route 53, or in the hosts file."""

    def get_url(
        self,
        *,
        url: str,
        dest: str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        url_username: str | None = ...,
        url_password: str | None = ...,
        force_basic_auth: bool | None = ...,
        use_netrc: bool | None = ...,
        use_gssapi: bool | None = ...,
        headers: Mapping[str, str] | None = ...,
        unredirected_headers: Sequence[str] | str | None = ...,
        http_agent: str | None = ...,
        force: bool | None = ...,
        timeout: int | None = ...,
        use_proxy: bool | None = ...,
        validate_certs: bool | None = ...,
        ca_path: str | None = ...,
        client_cert: str | None = ...,
        client_key: str | None = ...,
        ciphers: Sequence[str] | str | None = ...,
        decompress: bool | None = ...,
        checksum: str | None = ...,
        backup: bool | None = ...,
        tmp_dest: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Download a file from an HTTP, HTTPS or FTP server to the host."""

    def uri(
        self,
        *,
        url: str,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        attributes: str | None = ...,
        seuser: str | None = ...,
        serole: str | None = ...,
        setype: str | None = ...,
        selevel: str | None = ...,
        unsafe_writes: bool | None = ...,
        url_username: str | None = ...,
        url_password: str | None = ...,
        force_basic_auth: bool | None = ...,
        use_netrc: bool | None = ...,
        use_gssapi: bool | None = ...,
        headers: Mapping[str, str] | None = ...,
        unredirected_headers: Sequence[str] | str | None = ...,
        http_agent: str | None = ...,
        force: bool | None = ...,
        timeout: int | None = ...,
        use_proxy: bool | None = ...,
        validate_certs: bool | None = ...,
        ca_path: str | None = ...,
        client_cert: str | None = ...,
        client_key: str | None = ...,
        ciphers: Sequence[str] | str | None = ...,
        decompress: bool | None = ...,
        method: str | None = ...,
        body: Any | None = ...,
        body_format: Literal['form-urlencoded', 'json', 'raw', 'form-multipart'] | None = ...,
        src: str | None = ...,
        remote_src: bool | None = ...,
        status_code: Sequence[int] | int | None = ...,
        return_content: bool | None = ...,
        dest: str | None = ...,
        creates: str | None = ...,
        removes: str | None = ...,
        follow_redirects: Literal['all', 'no', 'none', 'safe', 'urllib2', 'yes'] | None = ...,
        unix_socket: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Send a request to a web service, and return or keep its answer."""

    def wait_for(
        self,
        *,
        host: str | None = ...,
        port: int | None = ...,
        path: str | None = ...,
        state: Literal['absent', 'drained', 'present', 'started', 'stopped'] | None = ...,
        search_regex: str | None = ...,
        timeout: int | None = ...,
        delay: int | None = ...,
        sleep: float | None = ...,
        connect_timeout: int | None = ...,
        msg: str | None = ...,
        active_connection_states: Sequence[str] | str | None = ...,
        exclude_hosts: Sequence[str] | str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Wait until a port, a file or a text in one of them is there or gone, or simply for some time."""

    def apt(
        self,
        *,
        name: Sequence[str] | str | None = ...,
        state: Literal['absent', 'build-dep', 'fixed', 'latest', 'present'] | None = ...,
        update_cache: bool | None = ...,
        update_cache_retries: int | None = ...,
        update_cache_retry_max_delay: int | None = ...,
        cache_valid_time: int | None = ...,
        purge: bool | None = ...,
        default_release: str | None = ...,
        install_recommends: bool | None = ...,
        force: bool | None = ...,
        clean: bool | None = ...,
        allow_unauthenticated: bool | None = ...,
        allow_downgrade: bool | None = ...,
        allow_change_held_packages: bool | None = ...,
        upgrade: Literal['dist', 'full', 'no', 'safe', 'yes'] | None = ...,
        dpkg_options: str | None = ...,
        deb: str | None = ...,
        autoremove: bool | None = ...,
        autoclean: bool | None = ...,
        policy_rc_d: int | None = ...,
        only_upgrade: bool | None = ...,
        fail_on_autoremove: bool | None = ...,
        force_apt_get: bool | None = ...,
        auto_install_module_deps: bool | None = ...,
        lock_timeout: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Install, upgrade and remove packages with apt."""

    def apt_key(
        self,
        *,
        id: str | None = ...,
        url: str | None = ...,
        data: str | None = ...,
        file: str | None = ...,
        keyserver: str | None = ...,
        keyring: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        validate_certs: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Say whose signatures apt trusts, in files below /etc/apt/trusted.gpg.d."""

    def apt_repository(
        self,
        *,
        repo: str,
        state: Literal['present', 'absent'] | None = ...,
        filename: str | None = ...,
        mode: str | int | None = ...,
        codename: str | None = ...,
        update_cache: bool | None = ...,
        update_cache_retries: int | None = ...,
        update_cache_retry_max_delay: int | None = ...,
        validate_certs: bool | None = ...,
        install_python_apt: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Say where apt takes packages from, by one-line sources."""

    def deb822_repository(
        self,
        *,
        name: str,
        allow_downgrade_to_insecure: bool | None = ...,
        allow_insecure: bool | None = ...,
        allow_weak: bool | None = ...,
        architectures: Sequence[str] | str | None = ...,
        by_hash: bool | None = ...,
        check_date: bool | None = ...,
        check_valid_until: bool | None = ...,
        components: Sequence[str] | str | None = ...,
        date_max_future: int | None = ...,
        enabled: bool | None = ...,
        inrelease_path: str | None = ...,
        languages: Sequence[str] | str | None = ...,
        mode: str | int | None = ...,
        pdiffs: bool | None = ...,
        signed_by: str | None = ...,
        suites: Sequence[str] | str | None = ...,
        targets: Sequence[str] | str | None = ...,
        trusted: bool | None = ...,
        types: Sequence[Literal['deb', 'deb-src']] | Literal['deb', 'deb-src'] | None = ...,
        uris: Sequence[str] | str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        install_python_debian: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Say where apt takes packages from, in a deb822 file of its own."""

    def debconf(
        self,
        *,
        name: str,
        question: str | None = ...,
        vtype: Literal['boolean', 'error', 'multiselect', 'note', 'password', 'seen', 'select', 'string', 'text', 'title'] | None = ...,
        value: Any | None = ...,
        unseen: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Answer a package's questions before it asks them, in debconf's database."""

    def dpkg_selections(
        self,
        *,
        name: str,
        selection: Literal['install', 'hold', 'deinstall', 'purge'],
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Say what dpkg is to do with a package, e.g. hold it, with dpkg --set-selections."""

    def package(
        self,
        *,
        name: Sequence[str] | str | None = ...,
        state: Literal['absent', 'build-dep', 'fixed', 'latest', 'present'] | None = ...,
        update_cache: bool | None = ...,
        update_cache_retries: int | None = ...,
        update_cache_retry_max_delay: int | None = ...,
        cache_valid_time: int | None = ...,
        purge: bool | None = ...,
        default_release: str | None = ...,
        install_recommends: bool | None = ...,
        force: bool | None = ...,
        clean: bool | None = ...,
        allow_unauthenticated: bool | None = ...,
        allow_downgrade: bool | None = ...,
        allow_change_held_packages: bool | None = ...,
        upgrade: Literal['dist', 'full', 'no', 'safe', 'yes'] | None = ...,
        dpkg_options: str | None = ...,
        deb: str | None = ...,
        autoremove: bool | None = ...,
        autoclean: bool | None = ...,
        policy_rc_d: int | None = ...,
        only_upgrade: bool | None = ...,
        fail_on_autoremove: bool | None = ...,
        force_apt_get: bool | None = ...,
        auto_install_module_deps: bool | None = ...,
        lock_timeout: int | None = ...,
        use: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Install and remove packages with the package manager that the host has."""

    def package_facts(
        self,
        *,
        manager: Sequence[str] | str | None = ...,
        strategy: Literal['first', 'all'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Return which packages the host has installed, and their versions."""

    def pip(
        self,
        *,
        name: Sequence[str] | str | None = ...,
        version: str | None = ...,
        requirements: str | None = ...,
        virtualenv: str | None = ...,
        virtualenv_command: str | None = ...,
        virtualenv_python: str | None = ...,
        virtualenv_site_packages: bool | None = ...,
        state: Literal['present', 'absent', 'latest', 'forcereinstall'] | None = ...,
        extra_args: str | None = ...,
        editable: bool | None = ...,
        chdir: str | None = ...,
        executable: str | None = ...,
        umask: str | None = ...,
        break_system_packages: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Install and remove Python packages with pip, in a virtual environment or beside it."""

    def unattended_upgrades(
        self,
        *,
        state: Literal['present', 'absent'] | None = ...,
        origins: Sequence[Any] | Any | None = ...,
        exclude: Sequence[str] | str | None = ...,
        update_days: int | None = ...,
        upgrade_days: int | None = ...,
        clean_days: int | None = ...,
        at: str | None = ...,
        spread: str | None = ...,
        reboot: str | None = ...,
        reboot_with_users: bool | None = ...,
        mail: str | None = ...,
        mail_report: Literal['always', 'only-on-error', 'on-change'] | None = ...,
        remove_unused: bool | None = ...,
        timers: bool | None = ...,
        name: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Have updates installed by themselves, every day, security updates alone unless asked otherwise."""

    def migrate(
        self,
        *,
        db: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        tool: Literal['command', 'alembic'] | None = ...,
        argv: Sequence[str] | str | None = ...,
        pending: Sequence[str] | str | None = ...,
        target: str | None = ...,
        chdir: str | None = ...,
        env: Mapping[str, str] | None = ...,
        user: str | None = ...,
        backup_gate: str | None = ...,
        backup_dir: str | None = ...,
        backup_name: str | None = ...,
        backup_level: Literal['list', 'read', 'restore', 'proven'] | None = ...,
        timeout: int | None = ...,
        lock_wait: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Bring a database's schema to where the application needs it: once, by one run at a time, after a proven backup."""

    def pg_archive(
        self,
        *,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        tool: Literal['auto', 'server', 'pgbackrest'] | None = ...,
        stanza: str | None = ...,
        dir: str | None = ...,
        repo: str | None = ...,
        retention: int | None = ...,
        wal_level: Literal['replica', 'logical'] | None = ...,
        timeout: int | None = ...,
        restart: bool | None = ...,
        wait: int | None = ...,
        lag: int | None = ...,
        bases: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Archive a server's write-ahead log as it is written, so that it can be recovered to any second (pg_pitr)."""

    def pg_backup(
        self,
        *,
        dir: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        db: str | None = ...,
        each: bool | None = ...,
        content: Literal['all', 'schema', 'globals'] | None = ...,
        name: str | None = ...,
        tag: str | None = ...,
        format: Literal['custom', 'directory', 'plain', 'plain.gz', 'plain.zst', 'zstd'] | None = ...,
        jobs: int | None = ...,
        compress: str | None = ...,
        verify: Literal['list', 'read', 'restore'] | None = ...,
        scratch_dir: str | None = ...,
        encrypt: Mapping[str, Any] | None = ...,
        sign: Literal['auto', 'required'] | None = ...,
        size_min: str | None = ...,
        size_max: str | None = ...,
        size_change: int | None = ...,
        wait: int | None = ...,
        lock_timeout: int | None = ...,
        keep_days: int | None = ...,
        keep_daily: int | None = ...,
        keep_weekly: int | None = ...,
        keep_monthly: int | None = ...,
        keep_min: int | None = ...,
        metrics_dir: str | None = ...,
        pushgateway: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Dump a PostgreSQL database, prove the dump, and only then publish it: hashed, described, encrypted if wanted."""

    def pg_basebackup(
        self,
        *,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        tool: Literal['auto', 'server', 'pgbackrest'] | None = ...,
        stanza: str | None = ...,
        type: Literal['full', 'diff', 'incr'] | None = ...,
        verify: bool | None = ...,
        dir: str | None = ...,
        name: str | None = ...,
        compress: int | None = ...,
        fast: bool | None = ...,
        keep: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Copy a whole server as it runs (a base backup), to recover from together with its archived log."""

    def pg_check(
        self,
        *,
        db: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        tables: Sequence[str] | str | None = ...,
        amcheck: bool | None = ...,
        heapallindexed: bool | None = ...,
        read: bool | None = ...,
        fail_on_damage: bool | None = ...,
        timeout: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Search a database for damage: every index and table with amcheck, every row read whole, and the checksums' count."""

    def pg_db(
        self,
        *,
        name: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        owner: str | None = ...,
        encoding: str | None = ...,
        template: str | None = ...,
        lc_collate: str | None = ...,
        lc_ctype: str | None = ...,
        tablespace: str | None = ...,
        conn_limit: int | None = ...,
        comment: str | None = ...,
        maintenance_db: str | None = ...,
        confirm: str | None = ...,
        force: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make a database, keep its owner and limits as declared, or drop it after a phrase that names it."""

    def pg_ext(
        self,
        *,
        name: str,
        db: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        version: str | None = ...,
        schema: str | None = ...,
        cascade: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Extensions of a database: there in a version and a schema, or gone."""

    def pg_globals(
        self,
        *,
        src: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        key: str | None = ...,
        key_passphrase: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Bring roles with their passwords, memberships and settings, and tablespaces, back from a backup of content globals."""

    def pg_hba(
        self,
        *,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        rules: Sequence[Any] | Any | None = ...,
        name: str | None = ...,
        place: Literal['first', 'last'] | None = ...,
        exclusive: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Who may connect from where: rules of pg_hba.conf, proven by a server before the real one reads them."""

    def pg_maintenance(
        self,
        *,
        db: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        op: Literal['vacuum', 'analyze', 'vacuum_analyze', 'reindex'] | None = ...,
        tables: Sequence[str] | str | None = ...,
        min_dead_tuples: int | None = ...,
        jobs: int | None = ...,
        window: str | None = ...,
        timeout: int | None = ...,
        lock_wait: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """VACUUM, ANALYZE and REINDEX where they are needed, within a window, and never beside a backup."""

    def pg_pitr(
        self,
        *,
        target_time: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        tool: Literal['auto', 'server', 'pgbackrest'] | None = ...,
        stanza: str | None = ...,
        inclusive: bool | None = ...,
        bases: str | None = ...,
        base: str | None = ...,
        archive: str | None = ...,
        timeline: str | None = ...,
        db: str | None = ...,
        verify_queries: Sequence[Any] | Any | None = ...,
        writers: Sequence[str] | str | None = ...,
        start_writers: bool | None = ...,
        timeout: int | None = ...,
        confirm: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Recover a whole server to a moment: beside the one in use, which is only replaced by what has reached that moment."""

    def pg_privs(
        self,
        *,
        db: str,
        roles: Sequence[str] | str,
        privs: Sequence[str] | str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        type: Literal['table', 'sequence', 'schema', 'database'] | None = ...,
        objs: Sequence[str] | str | None = ...,
        schema: str | None = ...,
        default: bool | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Rights of roles on databases, schemas, tables and sequences: given or taken, and those on tables to come."""

    def pg_promote(
        self,
        *,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        fenced_lsn: str | None = ...,
        max_bytes: int | None = ...,
        wait: int | None = ...,
        rehearse: bool | None = ...,
        confirm: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make a standby the primary, when it has all that the old one had and the old one can write no more."""

    def pg_query(
        self,
        *,
        query: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        db: str | None = ...,
        params: Any | None = ...,
        readonly: bool | None = ...,
        transaction: bool | None = ...,
        expect: Any | None = ...,
        expect_rows: str | None = ...,
        changed: bool | None = ...,
        export: str | None = ...,
        export_mode: str | int | None = ...,
        search_path: str | None = ...,
        timeout: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Run SQL in a database: all of it or nothing, values put in safely, its result checked, or exported as CSV."""

    def pg_ready(
        self,
        *,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        db: str | None = ...,
        timeout: int | None = ...,
        interval: float | None = ...,
        writable: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Wait until a PostgreSQL server takes connections and answers a query, as a client would find it."""

    def pg_replication(
        self,
        *,
        role: Literal['primary', 'standby', 'check', 'fenced'],
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        user: str | None = ...,
        password: str | None = ...,
        slot: str | None = ...,
        allow: Sequence[str] | str | None = ...,
        listen: str | None = ...,
        synchronous: Sequence[str] | str | None = ...,
        primary: str | None = ...,
        primary_port: int | None = ...,
        method: Literal['auto', 'rewind', 'copy'] | None = ...,
        max_bytes: int | None = ...,
        max_seconds: int | None = ...,
        standbys: int | None = ...,
        confirm: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Streaming replication: a primary, a standby that follows it, how far it is behind, and an old primary fenced off."""

    def pg_restore(
        self,
        *,
        src: str,
        db: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        mode: Literal['swap', 'clean', 'create'] | None = ...,
        jobs: int | None = ...,
        owner: str | None = ...,
        no_owner: bool | None = ...,
        no_privileges: bool | None = ...,
        key: str | None = ...,
        key_passphrase: str | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        verify: bool | None = ...,
        verify_queries: Sequence[Any] | Any | None = ...,
        analyze: bool | None = ...,
        before_swap: Sequence[str] | str | None = ...,
        writers: Sequence[str] | str | None = ...,
        start_writers: bool | None = ...,
        safety_backup: Literal['yes', 'no', 'try'] | None = ...,
        safety_dir: str | None = ...,
        confirm: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Restore a database from a backup, beside the one in service, which is only replaced by what was proven whole."""

    def pg_sessions(
        self,
        *,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        action: Literal['list', 'cancel', 'terminate'] | None = ...,
        db: str | None = ...,
        user: str | None = ...,
        application: str | None = ...,
        state: Sequence[str] | str | None = ...,
        older_than: str | None = ...,
        exclude_users: Sequence[str] | str | None = ...,
        exclude_self: bool | None = ...,
        max: int | None = ...,
        wait: int | None = ...,
        show_query: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Sessions of clients: listed, their query cancelled, or the session ended; chosen by database, role, state and age."""

    def pg_settings(
        self,
        *,
        set: Mapping[str, Any],
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        restart: bool | None = ...,
        timeout: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """A server's settings: compared by what they mean, set with ALTER SYSTEM, read back, put back when it does not come up."""

    def pg_stats(
        self,
        *,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        what: Sequence[Literal['connections', 'size', 'long_queries', 'blockers', 'bloat', 'cache_hit', 'growth', 'slow_queries']] | Literal['connections', 'size', 'long_queries', 'blockers', 'bloat', 'cache_hit', 'growth', 'slow_queries'] | None = ...,
        db: str | None = ...,
        warn: Mapping[str, float] | None = ...,
        critical: Mapping[str, float] | None = ...,
        fail_on: Literal['never', 'warning', 'critical'] | None = ...,
        older_than: str | None = ...,
        trend_file: str | None = ...,
        min_calls: int | None = ...,
        top: int | None = ...,
        show_query: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """How a server and a database are: connections, size, growth, long and slow queries, locks, dead rows, cache hits."""

    def pg_table_restore(
        self,
        *,
        src: str,
        db: str,
        tables: Sequence[str] | str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        mode: Literal['missing_only', 'replace', 'upsert'] | None = ...,
        key: Sequence[str] | str | None = ...,
        where: str | None = ...,
        salvage: bool | None = ...,
        identity: str | None = ...,
        key_passphrase: str | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        scratch_dir: str | None = ...,
        confirm: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Bring rows of single tables back from a backup into a database in use, in one transaction, with exact counts."""

    def pg_user(
        self,
        *,
        name: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        password: str | None = ...,
        update_password: Literal['always', 'on_create'] | None = ...,
        attributes: Sequence[str] | str | None = ...,
        conn_limit: int | None = ...,
        valid_until: str | None = ...,
        member_of: Sequence[str] | str | None = ...,
        exclusive: bool | None = ...,
        verify_login: bool | None = ...,
        verify_db: str | None = ...,
        verify_host: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make, on the control side, the verifier that PostgreSQL stores of a password, so that the password stays here."""

    def pg_verify(
        self,
        *,
        path: str,
        cluster: str | None = ...,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        level: Literal['list', 'read', 'restore'] | None = ...,
        expect_tables: Sequence[str] | str | None = ...,
        min_rows: Mapping[str, int] | None = ...,
        fresh: Mapping[str, float] | None = ...,
        compare: Literal['manifest', 'previous', 'none'] | None = ...,
        max_age: int | None = ...,
        size_min: str | None = ...,
        size_max: str | None = ...,
        delta_pct: int | None = ...,
        scratch_dir: str | None = ...,
        wait: int | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        key: str | None = ...,
        key_passphrase: str | None = ...,
        metrics_dir: str | None = ...,
        pushgateway: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Prove a backup of PostgreSQL that is there: by its table of contents, by reading all of it, or by restoring it."""

    def redis_backup(
        self,
        *,
        dir: str,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        name: str | None = ...,
        tag: str | None = ...,
        latest_link: bool | None = ...,
        encrypt: Mapping[str, Any] | None = ...,
        sign: Literal['auto', 'required'] | None = ...,
        mode: str | int | None = ...,
        timeout: int | None = ...,
        lock_wait: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Back a Redis server up: a snapshot that was really made now, copied, read whole by Redis' checker, with a manifest."""

    def redis_config(
        self,
        *,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        set: Mapping[str, Any] | None = ...,
        requirepass: str | None = ...,
        masterauth: str | None = ...,
        persist: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Settings of a running Redis server: compared by their meaning, set, written to its configuration, and read back."""

    def redis_info(
        self,
        *,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        sections: Sequence[str] | str | None = ...,
        timeout: int | None = ...,
        expect_role: Literal['master', 'slave'] | None = ...,
        warn: Mapping[str, float] | None = ...,
        critical: Mapping[str, float] | None = ...,
        fail_on: Literal['never', 'warning', 'critical'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Ask a Redis server how it is, and compare what it says with thresholds; an error reply is a failure."""

    def redis_keys(
        self,
        *,
        pattern: str,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        action: Literal['count', 'list', 'length', 'delete'] | None = ...,
        db: int | None = ...,
        protect: Sequence[str] | str | None = ...,
        max: int | None = ...,
        scan_count: int | None = ...,
        limit: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keys by a pattern: counted, listed, or deleted in small steps; queues of brokers are never deleted with a cache."""

    def redis_restore(
        self,
        *,
        src: str,
        login_host: str | None = ...,
        login_port: int | None = ...,
        login_user: str | None = ...,
        login_password: str | None = ...,
        service: str | None = ...,
        config: str | None = ...,
        confirm: str | None = ...,
        timeout: int | None = ...,
        lock_wait: int | None = ...,
        signed_by: Sequence[str] | str | None = ...,
        key: str | None = ...,
        key_passphrase: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Bring a Redis server back to a backup, so that neither its last save nor its append-only file undoes it."""

    def cron(
        self,
        *,
        name: str,
        user: str | None = ...,
        job: str | None = ...,
        state: Literal['absent', 'present'] | None = ...,
        cron_file: str | None = ...,
        backup: bool | None = ...,
        minute: str | None = ...,
        hour: str | None = ...,
        day: str | None = ...,
        month: str | None = ...,
        weekday: str | None = ...,
        special_time: Literal['annually', 'daily', 'hourly', 'monthly', 'reboot', 'weekly', 'yearly'] | None = ...,
        disabled: bool | None = ...,
        env: bool | None = ...,
        insertafter: str | None = ...,
        insertbefore: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Manage entries and variables of crontabs."""

    def logrotate(
        self,
        *,
        name: str,
        paths: Sequence[str] | str | None = ...,
        frequency: Literal['hourly', 'daily', 'weekly', 'monthly', 'yearly'] | None = ...,
        rotate: int | None = ...,
        start: int | None = ...,
        size: str | None = ...,
        minsize: str | None = ...,
        maxsize: str | None = ...,
        minage: int | None = ...,
        maxage: int | None = ...,
        compress: bool | None = ...,
        delaycompress: bool | None = ...,
        missingok: bool | None = ...,
        notifempty: bool | None = ...,
        copytruncate: bool | None = ...,
        create: Any | None = ...,
        dateext: bool | None = ...,
        dateformat: str | None = ...,
        dateyesterday: bool | None = ...,
        sharedscripts: bool | None = ...,
        su: str | None = ...,
        olddir: str | None = ...,
        firstaction: str | None = ...,
        prerotate: str | None = ...,
        postrotate: str | None = ...,
        lastaction: str | None = ...,
        preremove: str | None = ...,
        options: Sequence[str] | str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Rotate logs: one file below /etc/logrotate.d, judged by logrotate with all the others before it is installed."""

    def service(
        self,
        *,
        name: str,
        state: Literal['reloaded', 'restarted', 'started', 'stopped'] | None = ...,
        enabled: bool | None = ...,
        sleep: int | None = ...,
        pattern: str | None = ...,
        runlevel: str | None = ...,
        arguments: str | None = ...,
        use: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Manage services, whatever init system runs them: systemd's, or scripts of System V."""

    def service_facts(
        self,
        *,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Return which services the host has, whether they run, and whether they start with it."""

    def systemd(
        self,
        *,
        name: str | None = ...,
        state: Literal['reloaded', 'restarted', 'started', 'stopped'] | None = ...,
        enabled: bool | None = ...,
        force: bool | None = ...,
        masked: bool | None = ...,
        daemon_reload: bool | None = ...,
        daemon_reexec: bool | None = ...,
        scope: Literal['system', 'user', 'global'] | None = ...,
        no_block: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Manage systemd units: services, timers, sockets and the others."""

    def systemd_timer(
        self,
        *,
        name: str,
        description: str | None = ...,
        exec: Any | None = ...,
        unit: str | None = ...,
        user: str | None = ...,
        group: str | None = ...,
        working_directory: str | None = ...,
        environment: Mapping[str, str] | None = ...,
        environment_file: Sequence[str] | str | None = ...,
        on_calendar: Sequence[str] | str | None = ...,
        on_boot: str | None = ...,
        on_active: str | None = ...,
        on_unit_active: str | None = ...,
        on_unit_inactive: str | None = ...,
        persistent: bool | None = ...,
        randomized_delay: str | None = ...,
        accuracy: str | None = ...,
        wake: bool | None = ...,
        after: Sequence[str] | str | None = ...,
        on_failure: Sequence[str] | str | None = ...,
        timeout: str | None = ...,
        nice: int | None = ...,
        io_class: Literal['none', 'realtime', 'best-effort', 'idle'] | None = ...,
        io_priority: int | None = ...,
        memory_max: str | None = ...,
        memory_high: str | None = ...,
        cpu_quota: str | None = ...,
        cpu_weight: int | None = ...,
        tasks_max: str | None = ...,
        hardening: Literal['none', 'basic', 'strict'] | None = ...,
        service: Mapping[str, Any] | None = ...,
        timer: Mapping[str, Any] | None = ...,
        enabled: bool | None = ...,
        state: Literal['present', 'absent', 'started'] | None = ...,
        wait: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Run something on a schedule: a systemd timer and its service in one task, judged by systemd before they are written."""

    def systemd_unit(
        self,
        *,
        name: str,
        sections: Mapping[str, Mapping[str, Any]] | None = ...,
        content: str | None = ...,
        dropin: str | None = ...,
        state: Literal['present', 'absent', 'started', 'stopped', 'restarted'] | None = ...,
        enabled: bool | None = ...,
        hardening: Literal['none', 'basic', 'strict'] | None = ...,
        instances: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Manage a whole unit file of systemd, or a drop-in for one: checked by systemd before it is installed."""

    def alternatives(
        self,
        *,
        name: str,
        path: str | None = ...,
        link: str | None = ...,
        priority: int | None = ...,
        state: Literal['present', 'selected', 'auto', 'absent'] | None = ...,
        subcommands: Sequence[Mapping[str, str]] | Mapping[str, str] | None = ...,
        family: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Choose between programs that do the same, with update-alternatives."""

    def getent(
        self,
        *,
        database: str,
        key: str | None = ...,
        service: str | None = ...,
        split: str | None = ...,
        fail_key: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Look entries up in the host's databases: passwd, group, hosts, services and the others of getent(1)."""

    def hostname(
        self,
        *,
        name: str,
        use: Literal['alpine', 'debian', 'freebsd', 'generic', 'macos', 'macosx', 'darwin', 'openbsd', 'openrc', 'redhat', 'sles', 'solaris', 'systemd'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Set the host's name: the one that it has now, and the one that it boots with."""

    def locale_gen(
        self,
        *,
        name: Sequence[str] | str,
        state: Literal['present', 'absent'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make or remove locales, on Debian and Ubuntu."""

    def mount(
        self,
        *,
        path: str,
        state: Literal['absent', 'absent_from_fstab', 'mounted', 'present', 'unmounted', 'remounted', 'ephemeral'],
        src: str | None = ...,
        fstype: str | None = ...,
        opts: str | None = ...,
        dump: str | None = ...,
        passno: str | None = ...,
        fstab: str | None = ...,
        boot: bool | None = ...,
        backup: bool | None = ...,
        opts_no_log: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Mount file systems and unmount them, now and, through /etc/fstab, at boot."""

    def ping(
        self,
        *,
        data: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Answer: the host is reached and runs modules."""

    def setup(
        self,
        *,
        gather_subset: Sequence[str] | str | None = ...,
        gather_timeout: int | None = ...,
        filter: Sequence[str] | str | None = ...,
        fact_path: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Gather facts about the host."""

    def sysctl(
        self,
        *,
        name: str,
        value: str | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        sysctl_file: str | None = ...,
        sysctl_set: bool | None = ...,
        reload: bool | None = ...,
        ignoreerrors: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Set kernel parameters, in a file for the next boots and, where asked, now."""

    def timezone(
        self,
        *,
        name: str | None = ...,
        hwclock: Literal['UTC', 'local'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Set the host's time zone, and whether its hardware clock runs in UTC."""

    def certbot_renew(
        self,
        *,
        domains: Sequence[str] | str,
        cert_name: str | None = ...,
        server: str | None = ...,
        ca_file: str | None = ...,
        staging: bool | None = ...,
        dry_run: bool | None = ...,
        email: str | None = ...,
        challenge: Literal['webroot', 'standalone', 'dns', 'nginx'] | None = ...,
        webroot: str | None = ...,
        http_port: int | None = ...,
        auth_hook: str | None = ...,
        cleanup_hook: str | None = ...,
        key_type: Literal['ecdsa', 'rsa'] | None = ...,
        renew_before: int | None = ...,
        force: bool | None = ...,
        deploy_hook: str | None = ...,
        reload: Literal['none', 'nginx'] | None = ...,
        timer: bool | None = ...,
        preferred_chain: str | None = ...,
        must_staple: bool | None = ...,
        timeout: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Obtain certificates from a CA with certbot, and renew them in time."""

    def tls_cert_info(
        self,
        *,
        path: str,
        key: str | None = ...,
        chain: str | None = ...,
        ca: str | None = ...,
        verify: bool | None = ...,
        names: Sequence[str] | str | None = ...,
        warn_days: int | None = ...,
        crit_days: int | None = ...,
        fail_on: Literal['none', 'warning', 'critical'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Look at a certificate in a file: dates, names, strength, and whether key and chain go with it."""

    def tls_probe(
        self,
        *,
        names: Sequence[str] | str | None = ...,
        warn_days: int | None = ...,
        crit_days: int | None = ...,
        fail_on: Literal['none', 'warning', 'critical'] | None = ...,
        host: str | None = ...,
        port: int | None = ...,
        sni: str | None = ...,
        starttls: Literal['none', 'smtp', 'postgres'] | None = ...,
        verify: bool | None = ...,
        ca: str | None = ...,
        min_version: Literal['1.0', '1.1', '1.2', '1.3'] | None = ...,
        check_versions: bool | None = ...,
        same_as: str | None = ...,
        fingerprint: str | None = ...,
        timeout: float | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """See what certificate a server really serves, whether it is trusted, and which versions of TLS it accepts."""

    def tls_selfsigned(
        self,
        *,
        path: str,
        key: str,
        cn: str | None = ...,
        san: Sequence[str] | str | None = ...,
        days: int | None = ...,
        key_type: str | None = ...,
        only_if: Literal['absent', 'expiring', 'invalid'] | None = ...,
        renew_before: int | None = ...,
        force: bool | None = ...,
        new_key: bool | None = ...,
        keep_old: bool | None = ...,
        ca: bool | None = ...,
        issuer_cert: str | None = ...,
        issuer_key: str | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        mode: str | int | None = ...,
        key_mode: str | int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Make a self-signed certificate, or one of a small CA of one's own, where there is none that is of use."""

    def git(
        self,
        *,
        repo: str,
        dest: str | None = ...,
        version: str | None = ...,
        remote: str | None = ...,
        refspec: str | None = ...,
        clone: bool | None = ...,
        update: bool | None = ...,
        force: bool | None = ...,
        depth: int | None = ...,
        single_branch: bool | None = ...,
        bare: bool | None = ...,
        reference: str | None = ...,
        separate_git_dir: str | None = ...,
        recursive: bool | None = ...,
        track_submodules: bool | None = ...,
        verify_commit: bool | None = ...,
        gpg_allowlist: Sequence[str] | str | None = ...,
        archive: str | None = ...,
        archive_prefix: str | None = ...,
        key_file: str | None = ...,
        ssh_opts: str | None = ...,
        accept_hostkey: bool | None = ...,
        accept_newhostkey: bool | None = ...,
        executable: str | None = ...,
        umask: Any | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep a checkout of a git repository at a branch, a tag or a commit."""

    def maintenance_mode(
        self,
        *,
        state: Literal['on', 'off'],
        retry_after: int | None = ...,
        allow_from: Sequence[str] | str | None = ...,
        page: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Show visitors a page for the time of maintenance (status 503), and let chosen addresses through to the service."""

    def nginx_site(
        self,
        *,
        name: str,
        content: str | None = ...,
        enabled: bool | None = ...,
        state: Literal['present', 'absent'] | None = ...,
        default: Literal['keep', 'absent'] | None = ...,
        reload: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep a site of nginx: tried on a copy of the configuration first, so that an invalid one is never in /etc/nginx."""

    def add_host(
        self,
        *,
        ignore_errors: bool = ...,
        **values: Any,
    ) -> Outcome:
        """Add a host, and groups for it, to the inventory that later plays and tasks see."""

    def assert_(
        self,
        *,
        that: Sequence[Any] | Any,
        fail_msg: Any | None = ...,
        success_msg: Any | None = ...,
        quiet: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Fail unless conditions hold."""

    def confirm(
        self,
        *,
        phrase: str,
        answer: str | None = ...,
        message: str | None = ...,
        reason: str | None = ...,
        variable: str | None = ...,
        seconds: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Let nothing that destroys begin before somebody has typed what it will do."""

    def debug(
        self,
        *,
        msg: Any | None = ...,
        var: str | None = ...,
        verbosity: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Print a message or a variable."""

    def dr_timer(
        self,
        *,
        name: str,
        state: Literal['started', 'phase', 'finished', 'query'] | None = ...,
        phase: str | None = ...,
        budget: str | None = ...,
        began: str | None = ...,
        folder: str | None = ...,
        overrun: Literal['fail', 'warn'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Measure a recovery against its budget, phase by phase, in a file that outlives the run."""

    def evidence(
        self,
        *,
        dest: str | None = ...,
        parts: Sequence[Literal['volatile', 'containers', 'databases', 'logins', 'accounts', 'clockwork', 'system', 'packages', 'changes', 'logs', 'paths']] | Literal['volatile', 'containers', 'databases', 'logins', 'accounts', 'clockwork', 'system', 'packages', 'changes', 'logs', 'paths'] | None = ...,
        paths: Sequence[str] | str | None = ...,
        environments: Sequence[str] | str | None = ...,
        queries: Sequence[Any] | Any | None = ...,
        days: int | None = ...,
        max_mib: int | None = ...,
        timeout: int | None = ...,
        reason: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Collect evidence of an incident, what is lost first at first, and send it off the host as it is found."""

    def fail(
        self,
        *,
        msg: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Fail with a message of one's own."""

    def fetch(
        self,
        *,
        src: str,
        dest: str,
        flat: bool | None = ...,
        fail_on_missing: bool | None = ...,
        validate_checksum: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Bring a file from the host to the control side, below a folder of the host's own."""

    def group_by(
        self,
        *,
        key: str,
        parents: Sequence[Any] | Any | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Put hosts into groups by what is known of them, for later plays."""

    def include_role(
        self,
        *,
        name: str,
        tasks_from: str | None = ...,
        vars_from: str | None = ...,
        defaults_from: str | None = ...,
        handlers_from: str | None = ...,
        public: bool | None = ...,
        allow_duplicates: bool | None = ...,
        rolespec_validate: bool | None = ...,
        apply: Mapping[str, Any] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Go on with the tasks of a role, chosen while the play runs."""

    def include_tasks(
        self,
        *,
        file: str | None = ...,
        apply: Mapping[str, Any] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Go on with the tasks of another file, chosen while the play runs."""

    def include_vars(
        self,
        *,
        file: str | None = ...,
        dir: str | None = ...,
        name: str | None = ...,
        depth: int | None = ...,
        files_matching: str | None = ...,
        ignore_files: Sequence[Any] | Any | None = ...,
        ignore_unknown_extensions: bool | None = ...,
        extensions: Sequence[Any] | Any | None = ...,
        hash_behaviour: Literal['replace', 'merge'] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Load variables from files of the control side while the play runs."""

    def meta(
        self,
        *,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Steer the run itself: flush_handlers, end_host, end_play, end_batch, noop, reset_connection and others."""

    def notification(
        self,
        *,
        to: Sequence[str] | str,
        title: str,
        body: str | None = ...,
        severity: Literal['info', 'success', 'warning', 'failure'] | None = ...,
        once: str | None = ...,
        again: str | None = ...,
        folder: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Tell people: mail, Slack, Discord, Teams, a webhook, and whatever else Apprise reaches."""

    def pause(
        self,
        *,
        seconds: float | None = ...,
        minutes: float | None = ...,
        prompt: str | None = ...,
        echo: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Wait for a time, or until a person presses return."""

    def raw(
        self,
        *,
        executable: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Run a command line over SSH, with no Python on the host: to install one, or on devices that have none."""

    def reboot(
        self,
        *,
        pre_reboot_delay: int | None = ...,
        post_reboot_delay: int | None = ...,
        reboot_timeout: int | None = ...,
        connect_timeout: int | None = ...,
        test_command: str | None = ...,
        msg: str | None = ...,
        search_paths: Sequence[str] | str | None = ...,
        boot_time_command: str | None = ...,
        reboot_command: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Restart the host, and wait until it has really started again."""

    def secret_store(
        self,
        *,
        file: str | None = ...,
        url: str | None = ...,
        path: str | None = ...,
        mount: str | None = ...,
        namespace: str | None = ...,
        token: str | None = ...,
        role_id: str | None = ...,
        role_secret: str | None = ...,
        ca_file: str | None = ...,
        timeout: int | None = ...,
        required: Sequence[str] | str | None = ...,
        min_length: int | None = ...,
        allow_plain: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Open the secrets that a play needs, and say at once all that are missing or worthless, before anything begins."""

    def set_fact(
        self,
        *,
        cacheable: bool | None = ...,
        ignore_errors: bool = ...,
        **values: Any,
    ) -> Outcome:
        """Give a host variables that later tasks and plays can use."""

    def set_stats(
        self,
        *,
        data: Mapping[str, Any],
        per_host: bool | None = ...,
        aggregate: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep numbers and texts for the end of the run: they are shown behind the recap and stand in the record."""

    def synchronize(
        self,
        *,
        src: str,
        dest: str,
        mode: Literal['push', 'pull'] | None = ...,
        archive: bool | None = ...,
        recursive: bool | None = ...,
        links: bool | None = ...,
        copy_links: bool | None = ...,
        perms: bool | None = ...,
        times: bool | None = ...,
        owner: bool | None = ...,
        group: bool | None = ...,
        dirs: bool | None = ...,
        checksum: bool | None = ...,
        compress: bool | None = ...,
        delete: bool | None = ...,
        delay_updates: bool | None = ...,
        existing_only: bool | None = ...,
        partial: bool | None = ...,
        link_dest: Sequence[str] | str | None = ...,
        rsync_opts: Sequence[str] | str | None = ...,
        rsync_path: str | None = ...,
        rsync_timeout: int | None = ...,
        dest_port: int | None = ...,
        private_key: str | None = ...,
        set_remote_user: bool | None = ...,
        use_ssh_args: bool | None = ...,
        ssh_connection_multiplexing: bool | None = ...,
        verify_host: bool | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Keep a folder the same as another one, with rsync."""

    def template(
        self,
        *,
        src: str,
        dest: str,
        backup: bool | None = ...,
        mode: str | int | None = ...,
        owner: str | None = ...,
        group: str | None = ...,
        force: bool | None = ...,
        follow: bool | None = ...,
        validate: str | None = ...,
        newline_sequence: Literal['\n', '\r', '\r\n'] | None = ...,
        output_encoding: str | None = ...,
        trim_blocks: bool | None = ...,
        lstrip_blocks: bool | None = ...,
        block_start_string: str | None = ...,
        block_end_string: str | None = ...,
        variable_start_string: str | None = ...,
        variable_end_string: str | None = ...,
        comment_start_string: str | None = ...,
        comment_end_string: str | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Render a Jinja2 template and put the result on the host."""

    def validate_argument_spec(
        self,
        *,
        argument_spec: Mapping[str, Any],
        provided_arguments: Mapping[str, Any] | None = ...,
        validate_args_context: Mapping[str, Any] | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Check the variables that a role takes against its argument specification."""

    def wait_for_connection(
        self,
        *,
        timeout: int | None = ...,
        delay: int | None = ...,
        sleep: int | None = ...,
        connect_timeout: int | None = ...,
        ignore_errors: bool = ...,
    ) -> Outcome:
        """Wait until the host can be worked on."""
