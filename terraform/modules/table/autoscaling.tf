# Only where the capacity is provisioned: an index is scaled like its table, for what is written to one is written to the other.

locals {
  scaled = local.provisioned ? merge({
    table-read  = { kind = "table", unit = "Read", path = var.name, bounds = var.capacity.read }
    table-write = { kind = "table", unit = "Write", path = var.name, bounds = var.capacity.write }
    }, var.index == null ? {} : {
    index-read  = { kind = "index", unit = "Read", path = "${var.name}/index/${var.index.name}", bounds = var.capacity.read }
    index-write = { kind = "index", unit = "Write", path = "${var.name}/index/${var.index.name}", bounds = var.capacity.write }
  }) : {}
}

resource "aws_appautoscaling_target" "this" {
  for_each = local.scaled

  service_namespace  = "dynamodb"
  resource_id        = "table/${each.value.path}"
  scalable_dimension = "dynamodb:${each.value.kind}:${each.value.unit}CapacityUnits"
  min_capacity       = each.value.bounds.min
  max_capacity       = each.value.bounds.max
  tags               = var.tags

  depends_on = [aws_dynamodb_table.this]
}

resource "aws_appautoscaling_policy" "this" {
  for_each = local.scaled

  name               = "${var.name}-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.key].service_namespace
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id
  scalable_dimension = aws_appautoscaling_target.this[each.key].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value = 70

    predefined_metric_specification {
      predefined_metric_type = "DynamoDB${each.value.unit}CapacityUtilization"
    }
  }
}
