# The roles, each by the name of its job or command, and what it does (access.tf). Those of jobs are those that the chart runs.

locals {
  of_jobs = {
    extract-organizations = {
      about = "Opens a run, sends every free organization, releases limits of plans that no longer limit"
      may = [
        "epoch", "find_queues", "queue_depth", "send_organizations", "store_limits", "list_limits", "decrypt_items",
        "encrypt_messages",
      ]
    }
    collect-rooms = {
      about = "Finds the rooms that an organization sees, sends them to the merge"
      may = [
        "epoch", "find_queues", "queue_depth", "work_on_organizations", "send_rooms", "store_limits", "decrypt_items",
        "encrypt_messages",
      ]
    }
    merge-newest = {
      about = "Merges rooms newest first, stores the limit; has an organization collected again whose rooms are gone"
      may = [
        "epoch", "find_queues", "queue_depth", "work_on_rooms", "send_organizations", "read_live_ids", "store_limits",
        "decrypt_items", "encrypt_messages",
      ]
    }
    # The whole path in one process, for the organizations that are named. It works on whatever the queues hold meanwhile.
    rerun = {
      about = "Computes named organizations again: sends, collects and merges in one process"
      may = [
        "epoch", "find_queues", "queue_depth", "send_organizations", "send_rooms", "work_on_organizations",
        "work_on_rooms", "read_live_ids", "store_limits", "decrypt_items", "encrypt_messages",
      ]
    }
  }

  # Only where var.message_path is true. Kafka's rights are Kafka's own, and are not given here.
  of_messages = {
    serve-writes = {
      about = "Accepts what happens in rooms: leases the numbers of its ids, remembers idempotency keys"
      may   = ["epoch", "lease_ids", "remember_keys", "decrypt_items"]
    }
    build-read-model = {
      about = "Makes of the log of events what can be read: writes messages on condition of what is there"
      may   = ["epoch", "mark_group", "write_messages", "decrypt_items"]
    }
    serve-reads = {
      about = "Answers what readers may see: reads messages and limits, writes neither"
      may   = ["epoch", "read_messages", "look_up_limits", "decrypt_items"]
    }
    follow-limits = {
      about = "Keeps limits exact from second to second: reads ids, stores limits, remembers how far it is"
      may   = ["epoch", "follow_limits", "read_live_ids", "list_limits", "store_limits", "decrypt_items"]
    }
  }

  # What people start themselves. Only those of var.by_hand are made.
  of_people = {
    # run, retry, explain, preview, limits, dead-letters, doctor.
    operate = {
      about = "What an operator runs by hand, such as retry and doctor: all that the jobs do, and a look at everything"
      may = [
        "epoch", "find_queues", "queue_depth", "send_organizations", "send_rooms", "work_on_organizations",
        "work_on_rooms", "read_live_ids", "store_limits", "list_limits", "look_at_tables", "find_dead_letters",
        "decrypt_items", "encrypt_messages",
      ]
    }
    import = {
      about = "Loads messages into the table that the limits are computed from"
      may   = ["import_record", "find_queues", "look_for_deleted", "load_messages", "decrypt_items"]
    }
  }

  roles = merge(
    local.of_jobs,
    { for name, role in local.of_messages : name => role if var.message_path },
    { for name, role in local.of_people : name => role if contains(var.by_hand, name) },
  )
}
